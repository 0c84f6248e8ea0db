"""One thing to be said in a voice channel: who wants it, what it is, and how far it has come."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bot.playback.producer import SpeechMaking
from bot.playback.source import BYTES_PER_SECOND, SpeechSource

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from bot.streaming import SpeechChunk

SECONDS_PER_CHARACTER = 0.065
"""What people who read aloud need, pauses included; an estimate until the speech is made."""


@dataclass(eq=False)
class QueuedItem:
    """Something that a member wants to be said.

    Attributes:
        owner_id: The member's Discord id.
        owner_name: What the member is called, as it was typed.
        speaker: The voice's name, as it was typed.
        text: What the member typed.
        sentences: How many sentences that is.
        speech: Begins to make the speech; called once, shortly before it is needed.
    """

    owner_id: int
    owner_name: str
    speaker: str
    text: str = field(repr=False)
    sentences: int
    speech: Callable[[], AsyncGenerator[SpeechChunk, None]] = field(repr=False)
    source: SpeechSource = field(default_factory=SpeechSource, init=False, repr=False)
    making: SpeechMaking = field(init=False, repr=False)
    _ended: asyncio.Event = field(default_factory=asyncio.Event, init=False, repr=False)
    _error: Exception | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Get the speech ready to be made."""
        self.making = SpeechMaking(self.speech, self.source)

    @property
    def has_ended(self) -> bool:
        """Whether it was heard, or never will be."""
        return self._ended.is_set()

    @property
    def seconds(self) -> float:
        """How long it takes to say: an estimate while it is being made."""
        made = self.source.length / BYTES_PER_SECOND
        if self.source.finished:
            return made
        return max(made, len(self.text) * SECONDS_PER_CHARACTER)

    @property
    def seconds_left(self) -> float:
        """How much of it has not been heard yet."""
        return max(0.0, self.seconds - self.source.position / BYTES_PER_SECOND)

    @property
    def sentence(self) -> int:
        """Which sentence, from 1, is being heard."""
        return self.making.sentence_at(self.source.position)

    def end(self, error: Exception | None = None) -> None:
        """Say that it was heard, or why it was not. Only the first call counts."""
        if not self.has_ended:
            self._error = error
            self._ended.set()

    async def heard(self) -> None:
        """Wait until it was heard; raise what `end` was given if it was not."""
        await self._ended.wait()
        if self._error is not None:
            raise self._error
