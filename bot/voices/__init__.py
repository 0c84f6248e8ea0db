"""Saved voices: the tables, their migrations, and the rules about who may do what."""
