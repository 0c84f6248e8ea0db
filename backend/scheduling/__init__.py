"""Many callers share one engine: requests wait, are admitted to the batch, and stream back."""
