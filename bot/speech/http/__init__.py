"""Speech from any server that has the form of OpenAI's speech API and clones voices."""
