"""Speech that comes at a rate which a test decides, and what is heard of it, in virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from backend.contract import BackendInfo, PcmChunk, VoicePrompt
from bot.pace import Pace
from bot.playback.player import GuildPlayer
from bot.playback.queue import QueueEntry
from bot.production import Production
from bot.streaming import stream_speech
from bot.tempo import at_speed
from bot.text import Sentence
from bot.text.sentences import SECONDS_PER_CHARACTER

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from backend.contract import SpeechRequest
    from bot.playback.connection import Connection
    from bot.playback.source import SpeechSource

SAMPLE_RATE = 24_000
FRAME_SECONDS = 0.02
STEP_SECONDS = 0.08
"""So much speech is produced at the rate of its moment."""

PAUSE_SECONDS = 0.45
"""No pause between two sentences is longer, unless speech is late."""

LOUDNESS = 3_000
LOUDNESS_STEP = 200


@dataclass
class SlowBackend:
    """Speaks sentences of lengths that are given, each as a level of its own.

    Args:
        rate: How many seconds of speech come in a second, at a moment.
        lengths: Of the sentences, in seconds; they are spoken in this order.
        chunks: The lengths of a sentence's chunks; the last one holds for all that follow.
        at_once: How many sentences are requested at a time.
        alike: How many seconds of speech each of so many sentences gets, for one of a single one.
        first_seconds: What each sentence takes before it is begun.
    """

    rate: Callable[[float], float]
    lengths: Sequence[float]
    chunks: Sequence[float] = (0.32,)
    at_once: int = 1
    alike: Callable[[int], float] = lambda _sentences: 1.0
    first_seconds: float = 0.0
    running: int = 0
    begun: int = 0
    ended_at: float = 0.0

    def info(self) -> BackendInfo:
        return BackendInfo("Slow", "slow/1", ("Auto",), sentences_at_once=self.at_once)

    async def speak(self, _request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        number, self.begun = self.begun, self.begun + 1
        rest, chunks = self.lengths[number], list(self.chunks)
        self.running += 1
        try:
            await asyncio.sleep(self.first_seconds)
            while rest > FRAME_SECONDS / 2:
                seconds = min(rest, chunks.pop(0) if len(chunks) > 1 else chunks[0])
                await self._produce(seconds)
                rest -= seconds
                level = np.full(round(seconds * SAMPLE_RATE), LOUDNESS + number * LOUDNESS_STEP)
                yield PcmChunk(level.astype("<i2").tobytes(), SAMPLE_RATE)
        finally:
            self.running -= 1
            self.ended_at = asyncio.get_running_loop().time()

    async def _produce(self, seconds: float) -> None:
        while seconds > 0:
            step = min(seconds, STEP_SECONDS)
            rate = self.rate(asyncio.get_running_loop().time()) * self.alike(self.running)
            await asyncio.sleep(step / rate)
            seconds -= step


class PacedLink:
    """Reads a frame every 20 ms.

    Attributes:
        frames: When each was read, and how loud it is.
        plays: How often it began to play.
    """

    is_understood = True
    is_stuck = has_moved = is_doubtful = is_out_of_reach = False
    proven_until = None

    def __init__(self) -> None:
        self.frames: list[tuple[float, int]] = []
        self.plays = 0
        self._task: asyncio.Task[None] | None = None

    def play(self, source: SpeechSource) -> asyncio.Event:
        ended = asyncio.Event()
        self.plays += 1
        self._task = asyncio.create_task(self._read(source, ended))
        return ended

    def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()

    async def until_answered(self, **_options: Any) -> bool:
        return True

    async def _read(self, source: SpeechSource, ended: asyncio.Event) -> None:
        while frame := source.read():
            now = asyncio.get_running_loop().time()
            self.frames.append(
                (now, max(abs(sample) for sample in memoryview(frame).cast("h")[::400]))
            )
            await asyncio.sleep(FRAME_SECONDS)
        ended.set()


class PacedConnection:
    """A connection that works."""

    is_audible = is_well = True
    channel: Any = None

    def __init__(self) -> None:
        self.link = PacedLink()

    async def working_link(self) -> PacedLink:
        return self.link

    async def leave(self) -> None:
        return


@dataclass
class Listening:
    """What was heard of one entry. Times are in seconds since it was added to the queue.

    Attributes:
        first_frame: When the first frame was sent.
        begins: When the first sound was heard.
        ends: When the last one was heard.
        produced: When all speech had come.
        holes: How long each hole within a sentence was.
        late: How long each pause between sentences was that is longer than usual.
        waits: What the owner could be told each second: in how many seconds it begins or goes on.
        most_buffered: The most seconds of speech in the buffer.
    """

    first_frame: float
    begins: float
    ends: float
    produced: float
    holes: list[float]
    late: list[float]
    waits: list[float | None] = field(repr=False)
    most_buffered: float


def new_pace() -> Pace:
    """What is known of a backend at first: nothing."""
    return Pace(clock=asyncio.get_running_loop().time)


def entry_for(
    backend: SlowBackend,
    pace: Pace | None,
    characters: Sequence[int] | None = None,
    *,
    silence: float = 0.0,
    speed: float = 1.0,
) -> QueueEntry:
    """A queue entry whose speech a backend makes.

    Args:
        backend: The backend.
        pace: What is known of it; None to have it played as soon as there is something.
        characters: The lengths of the sentences' texts; by default they fit their speech.
        silence: Seconds of silence that were typed after each sentence.
        speed: How many times as fast it is heard.
    """
    characters = characters or [round(each / SECONDS_PER_CHARACTER) for each in backend.lengths]
    sentences = [
        Sentence("x" * count, ends_paragraph=False, silence_after=silence) for count in characters
    ]
    production = None if pace is None else Production(pace, sentences)
    if production is not None:
        production.speed = speed

    def speech() -> Any:
        prompt = VoicePrompt(b"", "slow/1")
        spoken = stream_speech(
            cast("Any", backend), sentences, prompt, language="Auto", production=production
        )
        return at_speed(spoken, speed)

    seconds = sum(backend.lengths) / speed
    return QueueEntry(1, 7, 1, 1, "Ada", "…", len(sentences), speech, None, seconds, production)


def new_player() -> tuple[GuildPlayer, PacedLink]:
    """A player in a voice channel, and what plays there."""
    connection = PacedConnection()
    return GuildPlayer(cast("Connection", connection)), connection.link


async def listen(
    backend: SlowBackend,
    *,
    pace: Pace | None = None,
    characters: Sequence[int] | None = None,
    speed: float = 1.0,
) -> Listening:
    """Play a text, and tell what was heard of it."""
    now = asyncio.get_running_loop().time
    began = now()
    entry = entry_for(backend, pace, characters, speed=speed)
    player, link = new_player()
    player.add(entry)
    waits: list[float | None] = []
    most = 0.0
    heard = asyncio.ensure_future(entry.heard())
    while not heard.done():
        waits.append(None if entry.pacing is None else entry.pacing.wait)
        most = max(most, entry.source.buffered_seconds)
        await asyncio.wait([heard], timeout=1.0)
    await heard
    return account(link, began, backend, waits, most)


def account(
    link: PacedLink, began: float, backend: SlowBackend, waits: list[float | None], most: float
) -> Listening:
    """Tell what was heard."""
    sounds = [(when - began, level) for when, level in link.frames if level > LOUDNESS / 2]
    gaps = [
        (after - before - FRAME_SECONDS, abs(level - next_level) < LOUDNESS_STEP / 2)
        for (before, level), (after, next_level) in pairwise(sounds)
    ]
    return Listening(
        first_frame=link.frames[0][0] - began,
        begins=sounds[0][0],
        ends=sounds[-1][0],
        produced=backend.ended_at - began,
        holes=[gap for gap, is_within in gaps if is_within and gap > FRAME_SECONDS],
        late=[gap for gap, is_within in gaps if not is_within and gap > PAUSE_SECONDS],
        waits=waits,
        most_buffered=most,
    )
