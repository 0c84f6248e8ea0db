"""Decides when speech is played that is produced more slowly than it is heard.

Playing waits until the rest will come in time. What can't be foreseen, such as a machine that gets
slower, makes it wait again, between two sentences if possible.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bot.playback.forecast import Coming, needs
from bot.playback.source import BYTES_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bot.playback.forecast import Need
    from bot.playback.source import SpeechSource
    from bot.production import Part, Production

MAX_WAIT_SECONDS = 60.0
"""Playing waits no longer than this for the rest of the text, but only for the next sentence. With
that it goes on, sentence by sentence, until the next one is late."""

MAX_PAUSE_SECONDS = 20.0
"""The same for a wait between two sentences: longer ones would seem to be the end."""

FORESEEN_SENTENCES = 12
"""So many sentences are looked at one by one, and all later ones as one."""

MAX_BUFFERED_SECONDS = 90.0
"""With so much buffered, playing waits no longer, and no more speech is read: 17 MB."""

LONG_WAIT_SECONDS = 1.0
"""If the first sound takes longer than this, the bot sends nothing until then. Otherwise it sends
silence, so that it would look as if it spoke."""

MUCH_FASTER = 1.5
"""If the first chunk came so much faster than it is heard, playing begins with it. Otherwise two
chunks have to show how fast they come: the first one had to wait for other things, too."""

RATE_MARGIN = 0.96
"""Playing begins as if speech came a little more slowly than was measured."""

MARGIN_SECONDS = 0.1
MAX_MARGIN_SECONDS = 1.6
"""The margin doubles each time when the buffer runs out within a sentence, up to this."""


@dataclass
class Sentences:
    """Where sentences begin in a source.

    Attributes:
        numbers: Their numbers, from 1.
        begins: The byte positions.
    """

    numbers: list[int]
    begins: list[int]


class Pacing:
    """Holds a source back while speech would come too late.

    Where speech comes faster than it is heard, the source is held back for no moment.

    Args:
        source: The source. It is held from now on; before `begin_turn`, in any case.
        production: Tells how the speech comes.
        sentences: Where its sentences begin, as far as they were fed.

    Attributes:
        wait: In how many seconds speech will begin, or go on: 0 while it is played, None if that
            isn't known yet.
    """

    def __init__(self, source: SpeechSource, production: Production, sentences: Sentences) -> None:
        self.wait: float | None = None
        self._source = source
        self._production = production
        self._sentences = sentences
        self._has_turn = False
        self._is_waiting = True
        self._waiting_since: float | None = None
        self._margin = MARGIN_SECONDS
        source.hold()

    @property
    def begins_late(self) -> bool:
        """Whether nothing was heard yet, and will not be for a while."""
        if not self._is_waiting or self._source.finished or self._source.position > 0:
            return False
        if self.wait is not None:
            return self.wait > LONG_WAIT_SECONDS
        return self._waited() > LONG_WAIT_SECONDS

    @property
    def most_buffered_seconds(self) -> float | None:
        """How much may be buffered; None if as much as usual, because speech comes fast.

        While playing waits, it is more: what is not read is not produced, so it would wait in vain.
        """
        is_held_back = self._has_turn and self._is_waiting
        return MAX_BUFFERED_SECONDS if is_held_back or self._production.is_slow else None

    def begin_turn(self) -> None:
        """Let the source be played from now on, once speech comes in time."""
        self._has_turn = True
        self.update()

    def update(self) -> None:
        """Decide anew; to be called when speech was fed, and now and then."""
        source = self._source
        if source.finished:
            self._is_waiting, self.wait = False, 0.0
            return
        if not self._has_turn:
            return
        if not self._is_waiting and source.is_held:
            self._is_waiting, self._waiting_since, self.wait = True, None, None
            if not self._is_between_sentences():
                self._margin = min(2 * self._margin, MAX_MARGIN_SECONDS)
        if self._is_waiting:
            self._go_on_if_in_time()
        else:
            self._stop_before_holes()

    def _go_on_if_in_time(self) -> None:
        source, production = self._source, self._production
        if source.buffered_seconds <= 0:
            return
        if self._waiting_since is None:
            self._waiting_since = production.clock()
        measured = production.rate
        rate = production.least_rate if measured is None else measured
        if rate is None or (measured is None and rate < MUCH_FASTER * production.speed):
            return
        found = self._needs(rate * RATE_MARGIN)
        spare = source.lead_seconds - self._margin
        next_one, complete = found[0].surely - spare, found[0].from_now
        if self._sentences.begins[-1] > source.position:  # the next one has come
            next_one = complete = 0.0
        rest = max(each.probably for each in found) - spare
        longest = MAX_PAUSE_SECONDS if source.position else MAX_WAIT_SECONDS
        until_cap = longest - self._waited()
        later = min(rest, until_cap) if self._is_between_sentences() else 0.0
        if max(next_one, later) <= 0 or source.buffered_seconds >= MAX_BUFFERED_SECONDS:
            self._is_waiting, self.wait = False, 0.0
            source.release()
            self._stop_before_holes()
        elif measured is not None:
            self.wait = max(min(next_one, complete), later, 0.0)

    def _stop_before_holes(self) -> None:
        """Let the source be read up to the sentence that won't come in time, if there is one."""
        rate = self._production.rate
        if rate is None or not self._sentences.begins:
            return
        if self._needs(rate)[0].surely > 0:
            self._source.release(until=self._sentences.begins[-1])
        else:
            self._source.release()

    def _needs(self, rate: float) -> list[Need]:
        source, production = self._source, self._production
        parts = production.parts[self._sentences.numbers[-1] - 1 :]
        coming = [
            _coming(production, part, rate, is_next=number == 0)
            for number, part in enumerate(parts[:FORESEEN_SENTENCES])
        ]
        if later := parts[FORESEEN_SENTENCES:]:
            coming.append(_joined(production, later))
        begins_in = (self._sentences.begins[-1] - source.position) / BYTES_PER_SECOND
        return needs(
            source.buffered_seconds,
            coming,
            rate=rate / production.speed,
            at_once=production.at_once,
            next_begins_in=max(0.0, begins_in),
        )

    def _is_between_sentences(self) -> bool:
        position, begins = self._source.position, self._sentences.begins
        if position == 0 or begins[bisect_left(begins, position, hi=len(begins) - 1)] == position:
            return True
        fed = self._production.parts[self._sentences.numbers[-1] - 1]
        return position == self._source.length and fed.is_complete

    def _waited(self) -> float:
        since = self._waiting_since
        return 0.0 if since is None else self._production.clock() - since


def _coming(production: Production, part: Part, rate: float, *, is_next: bool) -> Coming:
    """Describe a sentence. What has come of the next one is buffered, with the silence after it."""
    speed, to_produce = production.speed, production.usual_seconds(part)
    silence = 0.0 if is_next and part.is_complete else part.silence
    return Coming(
        to_produce=to_produce / speed,
        at_most=production.most_seconds(part, is_next=is_next) / speed,
        to_hear=(to_produce + (0.0 if is_next else part.speech)) / speed + silence,
        chunk=production.next_chunk(part) / speed,
        is_running=part.is_running,
        credit=production.credit(part, rate),
        delay=production.delay(part),
    )


def _joined(production: Production, parts: Sequence[Part]) -> Coming:
    """Describe sentences that are produced later as if they were one."""
    speed = production.speed
    to_produce = sum(map(production.usual_seconds, parts)) / speed
    by_itself = to_produce / production.at_once  # as if nothing were produced beside it
    return Coming(
        to_produce=by_itself,
        at_most=by_itself,
        to_hear=to_produce + sum(part.silence + part.speech / speed for part in parts),
        chunk=production.next_chunk(parts[0]) / speed,
        delay=sum(map(production.delay, parts)) / production.at_once,
    )
