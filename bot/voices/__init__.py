"""Saved voices and pronunciation dictionaries, and the rules about who may do what with them."""
