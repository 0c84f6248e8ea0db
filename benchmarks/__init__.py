"""Benchmarks, to be run by hand. `docs/performance.md` has their results."""
