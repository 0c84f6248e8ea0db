"""How fast a backend produces speech, learned from all that it does for this process."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass
from statistics import median, median_low
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FADING_SECONDS = 6.0
"""In seconds of speech. What was measured so much speech ago counts e times less."""

LAST_SECONDS, CLEARLY_SLOWER = 1.5, 0.7
"""If the rate in the last moments, over so much speech, is less than this share, it holds. So it is
noticed soon if the machine gets slower."""

FORGOTTEN_AFTER_SECONDS = 600.0
"""What was measured so long ago no longer counts: the machine may do something else by now."""

MOST_SENTENCES = 16
"""More sentences than this at a time count as so many."""

LEAST_RATE = 0.01

STALL_FACTOR, STALL_SECONDS = 4.0, 2.0
"""One chunk that took longer than so many times as long as usual, and so many seconds, counts as
that: a container may have started anew, and the next one comes as fast as ever."""

KNOWN_DELAYS, KNOWN_LENGTHS = 9, 20
"""Of so many sentences at most it is kept how long they were waited for, and how long they are."""

SURE_LENGTHS = 5

UNSURE_MARGIN, SURE_MARGIN = 2.5, 1.5
"""How much longer than the longest of the latest sentences, for its text, another one may be: while
few were measured, and later."""


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
