"""Uploads in, replies out: strangers' files to reference audio, speech to files for Discord."""
