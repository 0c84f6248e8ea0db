"""The inaudible watermark on all speech."""
