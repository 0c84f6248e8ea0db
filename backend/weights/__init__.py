"""Which checkpoints there are, where their weights lie, and how they get there."""
