"""The door to qwen-tts: one loaded model that makes voice prompts and speaks."""
