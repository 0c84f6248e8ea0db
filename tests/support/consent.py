"""What people are asked to read aloud."""

from __future__ import annotations


def sentence_in(words: str) -> str:
    """The sentence that a person is asked to read."""
    [line] = [line for line in words.splitlines() if line.startswith("> ")]
    return line.removeprefix("> ")
