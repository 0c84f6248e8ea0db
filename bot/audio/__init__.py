"""Uploads in, replies out: reference audio from strangers' files, and speech as files for Discord."""
