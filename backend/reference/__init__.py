"""Reference clips: as audio, from an address, and what is said in them."""
