"""Shares one engine between many callers: a fair queue, a worker thread, streamed results."""
