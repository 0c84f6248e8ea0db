"""The Discord side of Timbre. It runs without torch; speech comes through `bot.speech`."""
