"""The routes. Each file is one address, or those of one thing."""
