"""Which message a text to be spoken comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MessageSource:
    """A message that somebody has read aloud.

    Attributes:
        link: Where it is.
        author_id: The Discord id of who wrote it; None for nobody who can be mentioned.
    """

    link: str
    author_id: int | None = None
