"""Model weights: which checkpoints there are, what is on the disk, and downloads from the hub."""
