"""What of a text's speech has come from the backend, and how fast the rest comes.

This is measured where the backend's answers are read, because what has come of later sentences
isn't seen further on. `bot/playback/pacing.py` decides by it when speech may begin.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bot.pace import FADING_SECONDS, UNSURE_MARGIN, Pace
from bot.text import spoken_seconds

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from backend.contract import BackendInfo, PcmChunk, SpeechRequest
    from bot.speech.backend import SpeechModel
    from bot.text import Sentence

READER_AWAY_SECONDS, READER_AWAY_SHARE = 0.05, 0.25
"""If the reader of an answer is away for longer, and for a larger share of its wait for a chunk,
the next chunks may have been ready meanwhile. How fast they come isn't known then."""

SENTENCE_EXTRA_SECONDS = 0.4
"""What a sentence's speech has besides its words: some near-silence before and after it."""

HARDLY_FASTER = 1.5

GROWTH = 4.0
"""If chunks have been growing, the coming ones may be so many times as long as the last. How far
they grow is known when a sentence is complete."""

UNKNOWN_FACTOR = 4.5
"""How much longer than expected a sentence may be, before any sentence was measured."""

_OTHERS_SECONDS = 5.0
"""The weight of other texts in what is usual, in seconds of a text of one's own."""


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
        on_speech: Called with the length of each chunk, in seconds, as the backend sends it; of a
            sentence that restarts, and of a text that begins anew, also before that. What it raises
            ends the speech.

    Attributes:
        speed: How many times as fast it is heard as it is produced. All lengths here are those that
            are produced.
        parts: Each sentence's speech.
        at_once: How many sentences are requested at a time.
    """

    pace: Pace
    sentences: Sequence[Sentence] = field(repr=False)
    on_speech: Callable[[float], None] = field(default=lambda _seconds: None, repr=False)
    speed: float = field(default=1.0, init=False)
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
        if rate is None or rest == 0:
            return False
        return rate * min(self.at_once, rest) < HARDLY_FASTER * self.speed

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
                    self.on_speech(seconds)
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
    return Part(spoken_seconds([sentence]) + SENTENCE_EXTRA_SECONDS, sentence.silence_after)
