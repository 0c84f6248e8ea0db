"""Runs a speech model on this machine, in a child process."""
