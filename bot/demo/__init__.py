"""The same bot on a simulated Discord, for trying it with no token, no network and no GPU."""
