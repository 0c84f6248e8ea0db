"""Speech by Qwen3-TTS on this machine."""
