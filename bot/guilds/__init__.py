"""What is allowed, where, and what happened: limits, settings, moderation and the audit log."""
