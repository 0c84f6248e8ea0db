"""Measures the engine on a GPU: `python -m benchmarks.gpu`."""
