"""Uploads in, files out: people's recordings to reference audio, speech to files for Discord."""
