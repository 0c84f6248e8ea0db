"""The GPU side of Timbre: everything that runs beside the voice model. It knows nothing of Discord."""
