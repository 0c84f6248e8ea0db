"""The codec: frames become samples, piece by piece."""
