"""The GPU side of Timbre: what runs beside the voice model. It knows nothing of Discord."""
