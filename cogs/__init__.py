"""Slash commands: each parses and checks what was typed, calls `bot`, and answers."""
