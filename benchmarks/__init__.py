"""Measurements to be run by hand; `docs/performance.md` says what they gave."""
