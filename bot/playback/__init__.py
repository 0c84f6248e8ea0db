"""Voice channels: a player for each guild, and the audio source that it feeds."""
