"""The inaudible mark on all speech: put on in a stream, and found again."""
