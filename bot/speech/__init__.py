"""The one door to voice cloning: the `SpeechBackend` protocol, and the backends behind it."""
