"""Uploads in, replies out."""
