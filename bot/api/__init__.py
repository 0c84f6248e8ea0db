"""The HTTP API: a second front beside Discord, over the same pipeline, library and limits."""
