"""Whether speech that is still being produced will come in time to be heard without holes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Coming:
    """A sentence whose speech is not all buffered yet. All lengths are in seconds of speech.

    Attributes:
        to_produce: How much of it is probably still to be produced; 0 if all of it has come.
        at_most: How much may still be to be produced.
        to_hear: How much of it will be heard after what is buffered.
        chunk: The length of its longest coming chunk. A chunk comes when all of it is produced.
        is_running: It is being produced. Otherwise it is requested in its turn.
        credit: For how many seconds its next chunk has been waited for already.
        delay: How many seconds pass before anything of it is produced, once it is requested.
    """

    to_produce: float
    at_most: float
    to_hear: float
    chunk: float
    is_running: bool = False
    credit: float = 0.0
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Need:
    """How long playing has to wait for one sentence, in seconds; below 0 if there is time to spare.

    Attributes:
        surely: So that it has no holes even if it is as long as it may be.
        probably: So that it has none, as far as can be guessed, or is complete when it begins.
        from_now: When its speech is probably complete.
    """

    surely: float
    probably: float
    from_now: float


def needs(
    buffered: float,
    coming: Sequence[Coming],
    *,
    rate: float,
    at_once: int = 1,
    next_begins_in: float = 0.0,
) -> list[Need]:
    """Return how long playing has to wait for each of the sentences that are still coming.

    Args:
        buffered: How many seconds of speech can be heard at once.
        coming: The sentences, in order. The first is the one whose speech is being buffered.
        rate: How many seconds of speech each sentence that is produced gets in a second.
        at_once: How many sentences are produced at a time.
        next_begins_in: How long playing takes up to where the first of the sentences begins.
    """
    found: list[Need] = []
    done: list[float] = []  # in how many seconds all speech up to there has come
    heard = buffered  # how long playing takes up to there
    for number, each in enumerate(coming):
        before = done[-1] if done else 0.0
        begins = heard if number else next_begins_in
        if each.to_produce <= 0:
            done.append(before)
            found.append(Need(before - heard, before - heard, before))
        else:
            start = each.delay - each.credit
            if not each.is_running and number >= at_once:
                start += done[number - at_once]
            complete = max(before, start + each.to_produce / rate)
            done.append(complete)
            need, need_at_most = (
                _need(length, each.chunk, rate, start, before) - heard
                for length in (each.to_produce, each.at_most)
            )
            surely = max(need, need_at_most)
            found.append(Need(surely, max(need, min(surely, complete - begins)), complete))
        heard += each.to_hear
    return found


def _need(length: float, chunk: float, rate: float, start: float, before: float) -> float:
    """In how many seconds a sentence can begin, so that its first and last chunk come in time.

    Args:
        length: How much of it is still to be produced.
        chunk: The length of its chunks.
        rate: As for `needs`.
        start: When it is begun, in seconds from now.
        before: When all speech before it has come.
    """
    chunk = min(chunk, length)
    first = max(before, start + chunk / rate)
    last = max(before, start + length / rate)
    return max(first, last - (length - chunk))
