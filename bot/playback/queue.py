"""A guild's queue: how long it may be, and its entries with their speech and progress."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bot.playback.producer import Producer
from bot.playback.source import BYTES_PER_SECOND, SpeechSource

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    import discord

    from bot.message_source import MessageSource
    from bot.playback.pacing import Pacing
    from bot.production import Production
    from bot.streaming import SpeechChunk

MAX_WAITING = 25
MAX_WAITING_PER_MEMBER = 10


@dataclass(eq=False)
class QueueEntry:
    """Speech that a member has requested.

    Attributes:
        owner_id: The member's Discord id.
        channel_id: The voice channel that it belongs to. It is heard there or nowhere.
        voice_id: The saved voice that speaks, as `SavedVoice.id`.
        voice_owner_id: The Discord id of whose voice it is.
        speaker: The voice's name, not escaped.
        text: What the member typed, with names for mentions.
        sentences: How many sentences the text has.
        speech: Opens the stream of speech; called once, shortly before it is needed.
        owner: The member as they used the command, or as Discord has shown them since: with the
            roles and the timeout that they had then.
        expected_seconds: About how long the speech will be.
        production: Tells how the speech comes, if anything does.
        message: The message that is read aloud, if it is one.
        owner_known_at: When that was, or when Discord was last asked, by `time.monotonic`.
        source: The buffer that the speech is played from.
        producer: Fills the source.
    """

    owner_id: int
    channel_id: int
    voice_id: int
    voice_owner_id: int
    speaker: str
    text: str = field(repr=False)
    sentences: int
    speech: Callable[[], AsyncGenerator[SpeechChunk, None]] = field(repr=False)
    owner: discord.Member | None = field(default=None, repr=False)
    expected_seconds: float = 0.0
    production: Production | None = field(default=None, repr=False)
    message: MessageSource | None = field(default=None, repr=False)
    owner_known_at: float = field(default_factory=time.monotonic, init=False, repr=False)
    source: SpeechSource = field(default_factory=SpeechSource, init=False, repr=False)
    producer: Producer = field(init=False, repr=False)
    _ended: asyncio.Event = field(default_factory=asyncio.Event, init=False, repr=False)
    _error: Exception | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Create the producer, without starting it."""
        self.producer = Producer(self.speech, self.source, self.production)

    @property
    def has_ended(self) -> bool:
        """Whether the entry was played to its end, was removed or failed."""
        return self._ended.is_set()

    @property
    def seconds(self) -> float:
        """The length of the speech; an estimate until it is produced."""
        produced = self.source.length / BYTES_PER_SECOND
        if self.source.finished:
            return produced
        return max(produced, self.expected_seconds)

    @property
    def seconds_left(self) -> float:
        """How much of the speech has not been played yet."""
        return max(0.0, self.seconds - self.source.position / BYTES_PER_SECOND)

    @property
    def pacing(self) -> Pacing | None:
        """What holds the source back while speech would come too late."""
        return self.producer.pacing

    @property
    def wait(self) -> float:
        """In how many seconds the speech begins or goes on, though nothing else is played."""
        return 0.0 if self.pacing is None else self.pacing.wait or 0.0

    @property
    def seconds_to_produce(self) -> float:
        """About how long producing the rest of the speech takes; 0 if that is unknown."""
        if self.production is None or self.source.finished:
            return 0.0
        return self.production.seconds_to_produce()

    @property
    def is_slow(self) -> bool:
        """Whether the speech may come more slowly than it is heard."""
        return self.production is not None and self.production.is_slow

    @property
    def sentence(self) -> int:
        """The number, from 1, of the sentence that is being played."""
        return self.producer.sentence_at(self.source.position)

    @property
    def spoken(self) -> Spoken | None:
        """What remains known of the entry once it has ended; None if nothing of it was played."""
        if not self.source.position:
            return None
        return Spoken(self.owner_id, self.voice_id, self.voice_owner_id, self.channel_id)

    def end(self, error: Exception | None = None) -> None:
        """Mark the entry as played, or as failed with an error. Only the first call counts."""
        if not self.has_ended:
            self._error = error
            self._ended.set()

    async def heard(self) -> None:
        """Wait until the entry has ended. Raises the error that was given to `end`."""
        await self._ended.wait()
        if self._error is not None:
            raise self._error


@dataclass(frozen=True, slots=True)
class Spoken:
    """Speech that was heard, or is being heard, without its sound and its text.

    Attributes:
        owner_id: The Discord id of the member who requested it.
        voice_id: The saved voice, as `SavedVoice.id`.
        voice_owner_id: The Discord id of whose voice it is.
        channel_id: The voice channel.
    """

    owner_id: int
    voice_id: int
    voice_owner_id: int
    channel_id: int


@dataclass(frozen=True, slots=True)
class QueuePosition:
    """The position of an entry in the queue.

    Attributes:
        entry: The entry.
        number: 0 for the entry that is being played; waiting entries count from 1.
        starts_in: The estimated time until it is played, in seconds; 0 for the entry that is being
            played, even if that waits for its speech.
        ends_in: The estimated time until it was played.
    """

    entry: QueueEntry
    number: int
    starts_in: float
    ends_in: float
