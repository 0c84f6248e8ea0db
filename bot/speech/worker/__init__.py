"""A process of its own for models that run on this machine."""
