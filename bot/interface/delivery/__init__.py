"""Getting speech and words to Discord, whatever it refuses."""
