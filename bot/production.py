"""How fast a backend produces speech, and how much of a text's speech is still to come.

This is measured where the backend's answers are read, because what has come of later sentences
isn't seen further on. `bot/playback/pacing.py` decides by it when speech may begin.
"""

from __future__ import annotations

import math
import time
from collections import deque
from contextlib import aclosing
from dataclasses import dataclass, field
from statistics import median, median_low
from typing import TYPE_CHECKING

from bot.text import expected_seconds, typed_silence

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from backend.contract import BackendInfo, PcmChunk, SpeechRequest
    from bot.speech.backend import SpeechModel
    from bot.text import Sentence

FADING_SECONDS = 6.0
"""In seconds of speech. What was measured so much speech ago counts e times less."""

LAST_SECONDS, CLEARLY_SLOWER = 1.5, 0.7
"""If the rate in the last moments, over so much speech, is less than this share, it holds. So it is
noticed soon if the machine gets slower."""

FORGOTTEN_AFTER_SECONDS = 600.0
"""What was measured so long ago no longer counts: the machine may do something else by now."""

MOST_SENTENCES = 16
"""More sentences than this at a time count as so many."""

READER_AWAY_SECONDS, READER_AWAY_SHARE = 0.05, 0.25
"""If the reader of an answer is away for longer, and for a larger share of its wait for a chunk,
the next chunks may have been ready meanwhile. How fast they come isn't known then."""

LEAST_RATE = 0.01

SENTENCE_EXTRA_SECONDS = 0.4
"""What a sentence's speech has besides its words: some near-silence before and after it."""

HARDLY_FASTER = 1.5

STALL_FACTOR, STALL_SECONDS = 4.0, 2.0
"""One chunk that took longer than so many times as long as usual, and so many seconds, counts as
that: a container may have started anew, and the next one comes as fast as ever."""

GROWTH = 4.0
"""If chunks have been growing, the coming ones may be so many times as long as the last. How far
they grow is known when a sentence is complete."""

KNOWN_DELAYS = 9
KNOWN_LENGTHS = 20
SURE_LENGTHS = 5
UNKNOWN_FACTOR = 4.5
"""How much longer than expected a sentence may be, before any sentence was measured."""

UNSURE_MARGIN, SURE_MARGIN = 2.5, 1.5
"""How much longer than the longest of the latest sentences, for its text, another one may be: while
few were measured, and later."""

_OTHERS_SECONDS = 5.0
"""The weight of other texts in what is usual, in seconds of a text of one's own."""


@dataclass(slots=True)
class _Sums:
    """Sums over what was measured, in which older values count less."""

    fading_seconds: float
    speech: float = 0.0
    seconds: float = 0.0

    def add(self, speech: float, seconds: float) -> None:
        kept = math.exp(-speech / self.fading_seconds)
        self.speech = self.speech * kept + speech
        self.seconds = self.seconds * kept + seconds

    @property
    def rate(self) -> float:
        return self.speech / max(self.seconds, 1e-6)


class _Measured:
    """How fast speech came lately, and in the last moments."""

    def __init__(self) -> None:
        self._lately = _Sums(FADING_SECONDS)
        self._last = _Sums(LAST_SECONDS)
        self.latest = -math.inf

    def add(self, speech: float, seconds: float, now: float) -> None:
        if self._lately.speech:
            usual = speech / self._lately.rate
            seconds = min(seconds, STALL_FACTOR * usual + STALL_SECONDS)
        self._lately.add(speech, seconds)
        self._last.add(speech, seconds)
        self.latest = now

    @property
    def rate(self) -> float:
        lately, last = (max(sums.rate, LEAST_RATE) for sums in (self._lately, self._last))
        return last if last < CLEARLY_SLOWER * lately else lately


class Pace:
    """How fast a backend produces speech, learned from all that it does for this process.

    It keeps some sums and the latest sentences' lengths, and no speech.

    Args:
        clock: Returns the time in seconds.

    Attributes:
        running: How many sentences are being produced now.
        usual_factor: How long sentences' speech is, for each second expected for their texts.
        largest_factor: How long it may be; None before any sentence was complete.
        longest_chunk: The longest chunk of the latest sentences, in seconds of speech; None before.
        delay: How many seconds usually pass before anything of a sentence is produced, once it is
            requested while its text is being spoken.
        clock: As given.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.running = 0
        self.clock = clock
        self._rates: dict[int, _Measured] = {}  # by how many sentences were produced at a time
        self.usual_factor = 1.0
        self.largest_factor: float | None = None
        self.longest_chunk: float | None = None
        self.delay = 0.0
        self._delays: deque[float] = deque(maxlen=KNOWN_DELAYS)
        self._factors: deque[float] = deque(maxlen=KNOWN_LENGTHS)
        self._chunks: deque[float] = deque(maxlen=KNOWN_LENGTHS)

    def note_speech(self, speech: float, seconds: float) -> None:
        """Note that one of the sentences that run got so much speech in so much time."""
        sentences = min(max(1, self.running), MOST_SENTENCES)
        self._rates.setdefault(sentences, _Measured()).add(speech, seconds, self.clock())

    def note_delay(self, seconds: float) -> None:
        """Note how long a sentence was waited for before anything of it was produced."""
        self._delays.append(seconds)
        if len(self._delays) > 1:  # a single one may be a container that started anew
            self.delay = median_low(self._delays)

    def note_sentence(self, *, expected: float, speech: float, longest_chunk: float) -> None:
        """Note how long a sentence's speech was, and the longest of its chunks, in seconds."""
        self._factors.append(speech / expected)
        self._chunks.append(longest_chunk)
        is_sure = len(self._factors) >= SURE_LENGTHS
        self.usual_factor = median(self._factors)
        self.largest_factor = max(self._factors) * (SURE_MARGIN if is_sure else UNSURE_MARGIN)
        self.longest_chunk = max(self._chunks)

    def rate(self) -> float | None:
        """Return how many seconds of speech each of the sentences that run gets in a second.

        None before that was measured. If it was measured for other numbers of sentences alone, the
        answer is rather too low: with more at a time each is slower, but all together are not.
        """
        sentences = min(max(1, self.running), MOST_SENTENCES)
        now = self.clock()
        known = {
            number: each.rate
            for number, each in self._rates.items()
            if now - each.latest < FORGOTTEN_AFTER_SECONDS
        }
        if sentences in known or not known:
            return known.get(sentences)
        return max(rate * min(1.0, number / sentences) for number, rate in known.items())


@dataclass(slots=True)
class Part:
    """The speech of one sentence, as far as it has come.

    Attributes:
        expected: How long its text makes expect it to be, in seconds.
        silence: Seconds of silence that were typed after it.
        speech: How many seconds have come.
        chunks: How many chunks have come.
        last_chunk: The length of the latest chunk, in seconds.
        longest_chunk: The length of the longest.
        is_growing: The latest chunk is longer than the one before, so the next may be, too.
        asked_at: Since when its next chunk is waited for; None while nobody waits.
        first_seconds: For how long its first chunk was waited for; 0 before it came.
        first_rate: That chunk's length, for each of these seconds.
        is_running: Whether it is being produced.
        is_complete: Whether all of it has come.
    """

    expected: float
    silence: float = 0.0
    speech: float = 0.0
    chunks: int = 0
    last_chunk: float = 0.0
    longest_chunk: float = 0.0
    is_growing: bool = False
    asked_at: float | None = None
    first_seconds: float = 0.0
    first_rate: float = 0.0
    is_running: bool = False
    is_complete: bool = False

    def add(self, seconds: float, *, restarts: bool) -> None:
        """Count a chunk."""
        if restarts:
            self.speech = 0.0
        self.speech += seconds
        self.chunks += 1
        self.is_growing = self.chunks > 1 and seconds > 1.2 * self.last_chunk
        self.last_chunk = seconds
        self.longest_chunk = max(self.longest_chunk, seconds)


@dataclass(eq=False)
class Production:
    """The speech of one text while it is produced: what has come, and how fast the rest comes.

    Args:
        pace: What is known of the backend.
        sentences: The sentences of the text.

    Attributes:
        parts: Each sentence's speech.
        at_once: How many sentences are requested at a time.
    """

    pace: Pace
    sentences: Sequence[Sentence] = field(repr=False)
    parts: list[Part] = field(init=False, repr=False)
    at_once: int = field(default=1, init=False)

    def __post_init__(self) -> None:
        """Begin with nothing."""
        self.begin(at_once=1)

    def begin(self, *, at_once: int) -> None:
        """Forget what has come: the text is requested now, so many sentences at a time."""
        self.at_once = at_once
        self.parts = [_part(sentence) for sentence in self.sentences]
        self._longest_chunk = 0.0
        self._expected = self._spoken = 0.0  # of the sentences that are complete, in seconds

    @property
    def clock(self) -> Callable[[], float]:
        """The pace's clock."""
        return self.pace.clock

    @property
    def rate(self) -> float | None:
        """How many seconds of speech each sentence that runs gets in a second; None if unknown.

        A chunk that is overdue lowers it before it comes.
        """
        rate = self.pace.rate()
        if rate is None:
            return None
        for part in self.parts:
            waited = self._waited(part) if part.chunks else 0.0
            if waited and rate * waited > (chunk := self.next_chunk(part)):
                rate = min(rate, (FADING_SECONDS + chunk) / (FADING_SECONDS / rate + waited))
        return rate

    @property
    def least_rate(self) -> float | None:
        """A rate that is reached for certain, from how long a first chunk took; None before it.

        The request had to wait for other things as well, so it tells nothing of a slow backend.
        """
        begun = next((part for part in self.parts if part.chunks), None)
        return None if begun is None else begun.first_rate

    def usual_seconds(self, part: Part) -> float:
        """Return how much of a sentence's speech is probably still to come, in seconds."""
        if part.is_complete:
            return 0.0
        return max(part.expected * self._usual_factor() - part.speech, 0.1 * part.speech, 0.2)

    def most_seconds(self, part: Part, *, is_next: bool) -> float:
        """Return how much of a sentence's speech may still come, in seconds.

        Args:
            part: The sentence.
            is_next: Whether it is heard next. Before others are, more will be known of lengths.
        """
        if part.is_complete:
            return 0.0
        factor = self.pace.largest_factor
        if factor is None:
            factor = UNKNOWN_FACTOR if is_next else UNSURE_MARGIN
        most = part.expected * factor - part.speech
        return max(most, 0.5 * part.speech, self.usual_seconds(part))

    def next_chunk(self, part: Part) -> float:
        """Return how long the longest of a sentence's coming chunks will be, in seconds."""
        known = self.pace.longest_chunk
        if known is not None:
            return max(known, self._longest_chunk)
        return GROWTH * self._longest_chunk if part.is_growing else self._longest_chunk

    def credit(self, part: Part, rate: float) -> float:
        """Return for how long a sentence's next chunk has been waited for, if it isn't overdue."""
        usual = self.delay(part) + self.next_chunk(part) / rate
        return min(self._waited(part), usual) if part.is_running else 0.0

    def delay(self, part: Part) -> float:
        """Return how many seconds pass before anything is produced of a sentence."""
        return 0.0 if part.chunks else self.pace.delay

    def seconds_to_produce(self) -> float:
        """Return about how long the rest of the text takes; 0 if the rate is unknown."""
        rate = self.rate
        if rate is None:
            return 0.0
        rest = [self.usual_seconds(part) for part in self.parts if not part.is_complete]
        return sum(rest) / (rate * min(self.at_once, len(rest))) if rest else 0.0

    @property
    def is_slow(self) -> bool:
        """Whether the rest may come more slowly than it is heard, or hardly faster."""
        rate = self.rate
        rest = sum(not part.is_complete for part in self.parts)
        return rest > 0 and rate is not None and rate * min(self.at_once, rest) < HARDLY_FASTER

    async def read(
        self, number: int, answer: AsyncGenerator[PcmChunk, None]
    ) -> AsyncGenerator[PcmChunk, None]:
        """Pass on the backend's answer to a sentence, counted from 0, and measure it."""
        part = self.parts[number]
        pace, clock = self.pace, self.clock
        part.is_running = True
        pace.running += 1
        watch = _Watch()
        try:
            async with aclosing(answer):
                while True:
                    part.asked_at = asked_at = clock()
                    chunk = await anext(answer, None)
                    now, part.asked_at = clock(), None
                    if chunk is None:
                        break
                    seconds = len(chunk.pcm) / 2 / chunk.sample_rate
                    took = watch.took(asked_at, now)
                    if not part.chunks:
                        part.first_seconds = max(now - asked_at, 1e-6)
                        part.first_rate = seconds / part.first_seconds
                    elif took is not None:
                        pace.note_speech(seconds, took)
                    if part.chunks == 1 and number >= self.at_once:
                        self._note_delay(part)
                    part.add(seconds, restarts=chunk.restarts)
                    self._longest_chunk = max(self._longest_chunk, seconds)
                    yield chunk
            if part.speech:
                self._complete(number)
        finally:
            part.is_running, part.asked_at = False, None
            pace.running -= 1

    def _note_delay(self, part: Part) -> None:
        rate = self.pace.rate()
        if rate is not None:
            self.pace.note_delay(max(0.0, part.first_seconds - part.speech / rate))

    def _complete(self, number: int) -> None:
        part = self.parts[number]
        if part.chunks == 1 and (number >= self.at_once or self.pace.rate() is None):
            self.pace.note_speech(part.speech, part.first_seconds)
        part.is_complete = True
        self._expected += part.expected
        self._spoken += part.speech
        self.pace.note_sentence(
            expected=part.expected, speech=part.speech, longest_chunk=part.longest_chunk
        )

    def _usual_factor(self) -> float:
        """Like `Pace.usual_factor`; the text's own sentences count more."""
        weight = _OTHERS_SECONDS
        return (self._spoken + weight * self.pace.usual_factor) / (self._expected + weight)

    def _waited(self, part: Part) -> float:
        return 0.0 if part.asked_at is None else self.clock() - part.asked_at


class _Watch:
    """Takes the times between the chunks of one answer, and leaves out those that tell nothing."""

    def __init__(self) -> None:
        self._came: float | None = None  # when the latest chunk did
        self._may_be_late = False  # the reader, and chunks are ready before it asks

    def took(self, asked_at: float, now: float) -> float | None:
        """Return how long a chunk took that was asked for and came; None if that isn't known."""
        came, self._came = self._came, now
        if came is None:
            return now - asked_at
        waited, away = now - asked_at, asked_at - came
        if away > max(READER_AWAY_SECONDS, READER_AWAY_SHARE * waited):
            self._may_be_late = True
            return None
        if self._may_be_late:
            self._may_be_late = waited <= READER_AWAY_SECONDS
            return None
        return now - came


class MeasuredBackend:
    """A backend whose answers are measured; each is the next sentence of one text.

    Args:
        backend: The backend.
        production: The text's.
    """

    def __init__(self, backend: SpeechModel, production: Production) -> None:
        self._backend = backend
        self._production = production
        self._requests = 0
        production.begin(at_once=backend.info().sentences_at_once)

    def info(self) -> BackendInfo:
        """Describe the backend."""
        return self._backend.info()

    def speak(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        """Yield the speech of the next sentence."""
        number, self._requests = self._requests, self._requests + 1
        return self._production.read(number, self._backend.speak(request))


def _part(sentence: Sentence) -> Part:
    spoken = expected_seconds([sentence]) - typed_silence([sentence])
    return Part(spoken + SENTENCE_EXTRA_SECONDS, sentence.silence_after)
