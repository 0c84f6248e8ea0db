"""Speech in which every 20 ms tells which item it belongs to, and at which offset.

An item is the speech of one `/say`, with a number. It consists of two tones: a steady one, whose
pitch is the number, and a rising one, whose pitch is the offset. So the sound alone tells which
items were heard, in which order, what was missing and what was repeated.
"""

from __future__ import annotations

import asyncio
import re
import time
from bisect import bisect
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from backend.contract import PcmChunk
from tests.support.scripted_backend import SAMPLE_RATE, ScriptedBackend
from tests.support.voice_server.hearing import FRAME_SECONDS
from tests.support.voice_server.spectrum import Spectrum

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from numpy.typing import NDArray

    from backend.contract import SpeechRequest
    from tests.support.voice_server.hearing import Frame, Heard

CHUNK_SECONDS = 0.32
LOUDNESS = 0.1
"""The amplitude of each tone. Together they have the loudness to which the bot brings speech, so it
leaves them as they are."""

LOWEST_OFFSET, HERTZ_PER_SECOND = 400.0, 250.0
LOWEST_ITEM, HERTZ_PER_ITEM = 3_200.0, 80.0
ITEMS = 60
MAX_SECONDS = 9.0
HIGHEST_OFFSET = LOWEST_OFFSET + HERTZ_PER_SECOND * (MAX_SECONDS + 0.2)
HIGHEST_ITEM = LOWEST_ITEM + HERTZ_PER_ITEM * (ITEMS + 1)
CLEAR = 0.4
"""The share of its full loudness that each tone must have; a cut frame has less."""

SAME_SECONDS = 0.45 * FRAME_SECONDS
"""Two frames that are less apart than this are the same part of an item."""

_TEXT = re.compile(r"Item (\d+), (\d+) tenths")


def item_text(item: int, seconds: float) -> str:
    """The text that makes `MarkedBackend` speak an item of that length, up to nine seconds."""
    return f"Item {item}, {round(seconds * 10)} tenths of a second"


def marked(item: int, seconds: float, sample_rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
    """An item's sound, in -1..1. Numbers above 59 begin again at 0."""
    times = np.arange(round(seconds * sample_rate)) / sample_rate
    offset = np.sin(2 * np.pi * (LOWEST_OFFSET * times + HERTZ_PER_SECOND / 2 * times**2))
    number = np.sin(2 * np.pi * (LOWEST_ITEM + HERTZ_PER_ITEM * (item % ITEMS)) * times)
    return (LOUDNESS * (offset + number)).astype(np.float32)


class MarkedBackend(ScriptedBackend):
    """Streams marked speech in chunks, faster than real time, unless a test slows it down.

    Attributes:
        on_chunk: Awaited before each chunk, with the item and the chunk's offset in seconds.
        first_chunks: When each item's first chunk left, as `time.time()`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.on_chunk: Callable[[int, float], Awaitable[None]] | None = None
        self.first_chunks: dict[int, float] = {}

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        match = _TEXT.search(request.text)
        if match is None:
            raise AssertionError("marked speech can only say what item_text() gives")
        item, seconds = int(match[1]), int(match[2]) / 10
        if self.on_speak is not None:
            await self.on_speak(request)
        self.spoken.append(request.text)
        samples = (marked(item, seconds) * 32_767).astype("<i2")
        step = round(CHUNK_SECONDS * SAMPLE_RATE)
        for start in range(0, len(samples), step):
            if self.on_chunk is not None:
                await self.on_chunk(item, start / SAMPLE_RATE)
            await asyncio.sleep(0)
            self.first_chunks.setdefault(item, time.time())
            yield PcmChunk(samples[start : start + step].tobytes(), SAMPLE_RATE)


@dataclass(frozen=True, slots=True)
class Mark:
    """The contents of one frame.

    Attributes:
        item: Which item.
        offset: How far into the item the middle of the frame is, in seconds.
        frame: The frame.
    """

    item: int
    offset: float
    frame: Frame


@dataclass(frozen=True, slots=True)
class Passage:
    """Frames of one item that were heard in a row."""

    item: int
    marks: tuple[Mark, ...]

    @property
    def began(self) -> float:
        """When its first frame arrived, as `time.time()`."""
        return self.marks[0].frame.arrived

    @property
    def ended(self) -> float:
        """When its last frame arrived, as `time.time()`."""
        return self.marks[-1].frame.arrived

    @property
    def longest_gap(self) -> float:
        """The longest time without sound between its first and last frame, in seconds."""
        arrivals = [mark.frame.arrived for mark in self.marks]
        return max((float(gap) for gap in np.diff(arrivals)), default=FRAME_SECONDS) - FRAME_SECONDS


def passages(heard: Heard) -> list[Passage]:
    """The items in the order in which they were heard, without frames that were cut."""
    marks = [mark for frame in heard.frames if (mark := _read(frame))]
    return [Passage(item, tuple(row)) for item, row in groupby(marks, lambda mark: mark.item)]


def silence_within(heard: Heard, passage: Passage) -> float:
    """How much silence the bot sent in the middle of a passage, in seconds.

    Unlike `Passage.longest_gap`, that does not depend on how busy the machine is.
    """
    silent = [frame for frame in heard.frames if not frame.is_audible]
    return FRAME_SECONDS * sum(passage.began < frame.arrived < passage.ended for frame in silent)


@dataclass(frozen=True, slots=True)
class Account:
    """What a listener can say of one item.

    Attributes:
        began: When its first sound was heard, as `time.time()`; None if nothing was.
        ended: When its last sound was heard.
        missing: How many seconds of it were never heard.
        repeated: How many seconds of it were heard more than once.
        silence_before: How many seconds of silence the bot sent before its first sound.
        connections: By which of the bot's connections it was heard.
        channels: In which voice channels it was heard.
    """

    began: float | None
    ended: float | None
    missing: float
    repeated: float
    silence_before: float
    connections: frozenset[int]
    channels: frozenset[int | None]


def account(heard: Heard, item: int, seconds: float) -> Account:
    """Tell what was heard of an item of that length."""
    marks = [mark for row in passages(heard) if row.item == item for mark in row.marks]
    frames = [mark.frame for mark in marks]
    return Account(
        began=frames[0].arrived if frames else None,
        ended=frames[-1].arrived if frames else None,
        missing=unheard_seconds(heard, item, seconds),
        repeated=repeated_seconds(heard, item),
        silence_before=_silence_before(heard, frames[0]) if frames else 0.0,
        connections=frozenset(frame.connection for frame in frames),
        channels=frozenset(frame.channel_id for frame in frames),
    )


def unheard_seconds(heard: Heard, item: int, seconds: float) -> float:
    """How many seconds of an item were never heard."""
    steps = np.diff(np.sort(np.array([0.0, *_offsets(heard, item), seconds])))
    return float(np.sum(np.maximum(0.0, steps - 2 * FRAME_SECONDS)))


def repeated_seconds(heard: Heard, item: int) -> float:
    """How many seconds of an item were heard more than once.

    What is said again counts only if it was heard before: what had been lost was not.
    """
    known: list[float] = []
    again = 0
    for offset in _offsets(heard, item):
        at = bisect(known, offset)
        if any(abs(each - offset) < SAME_SECONDS for each in known[max(0, at - 1) : at + 1]):
            again += 1
        else:
            known.insert(at, offset)
    return again * FRAME_SECONDS


def _offsets(heard: Heard, item: int) -> list[float]:
    return [mark.offset for row in passages(heard) if row.item == item for mark in row.marks]


def _silence_before(heard: Heard, first: Frame) -> float:
    """How much silence was sent right before a frame, on its connection."""
    count = 0
    for frame in reversed(heard.frames[: heard.frames.index(first)]):
        if frame.is_audible or frame.is_end or frame.connection != first.connection:
            break
        count += 1
    return count * FRAME_SECONDS


@lru_cache(maxsize=10_000)
def _read(frame: Frame) -> Mark | None:
    """The contents of a frame; None if it is silent or was cut."""
    if not frame.is_audible:
        return None
    spectrum = Spectrum(frame.samples)
    low, low_loudness = spectrum.peak(LOWEST_OFFSET - 20, HIGHEST_OFFSET)
    high, high_loudness = spectrum.peak(HIGHEST_OFFSET + 40, HIGHEST_ITEM)
    item = round((high - LOWEST_ITEM) / HERTZ_PER_ITEM)
    off = abs(high - LOWEST_ITEM - item * HERTZ_PER_ITEM)
    if off > HERTZ_PER_ITEM / 4 or not 0 <= item < ITEMS:
        return None
    if min(low_loudness, high_loudness) < CLEAR * LOUDNESS:
        return None
    return Mark(item, (low - LOWEST_OFFSET) / HERTZ_PER_SECOND, frame)
