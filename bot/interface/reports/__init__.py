"""Reports as those see them who decide."""
