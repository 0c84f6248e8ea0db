"""How fast speech comes, and how much is still to come, as far as a backend's answers show it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backend.contract import PcmChunk
from bot.pace import FORGOTTEN_AFTER_SECONDS, UNSURE_MARGIN, Pace
from bot.production import Production
from bot.text import Sentence
from tests.support.virtual_time import run_virtually

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

SAMPLE_RATE = 24_000
SENTENCE = Sentence("x" * 40, ends_paragraph=False)


async def chunks(
    count: int, *, seconds: float = 0.4, every: float = 0.5, first: float = 0.5
) -> AsyncGenerator[PcmChunk, None]:
    for number in range(count):
        await asyncio.sleep(every if number else first)
        yield PcmChunk(np.zeros(round(seconds * SAMPLE_RATE), "<i2").tobytes(), SAMPLE_RATE)


async def taken(answer: AsyncGenerator[PcmChunk, None], *, away: float = 0.0) -> None:
    async for _chunk in answer:
        await asyncio.sleep(away)


def new_production(sentences: int = 1) -> Production:
    return Production(Pace(clock=asyncio.get_running_loop().time), [SENTENCE] * sentences)


async def _rates() -> None:
    production = new_production()
    assert production.rate is None
    await taken(production.read(0, chunks(6, first=20.0)))
    assert production.pace.rate() == pytest.approx(0.8), "what came before the first chunk counts"


async def _reader_is_away() -> None:
    """Speech that was ready is no sign of a fast backend."""
    production = new_production()

    async def ready_at_once() -> AsyncGenerator[PcmChunk, None]:
        async for chunk in chunks(8, every=0.0):
            yield chunk

    await taken(production.read(0, ready_at_once()), away=3.0)
    assert production.pace.rate() is None


async def _reader_is_slow() -> None:
    """A reader that is always a little late, on a busy machine, still measures."""
    production = new_production()
    await taken(production.read(0, chunks(8)), away=0.08)
    assert production.pace.rate() == pytest.approx(0.7, abs=0.1)


async def _sentences_at_a_time() -> None:
    production = new_production(4)
    production.begin(at_once=4)
    await asyncio.gather(*(taken(production.read(n, chunks(6, every=1.0))) for n in range(4)))
    pace = production.pace
    pace.running = 4
    four = pace.rate()
    pace.running = 8
    eight = pace.rate()
    pace.running = 2
    two = pace.rate()
    assert (two, four, eight) == pytest.approx((0.4, 0.4, 0.2)), "rather too low than too high"


async def _forgets() -> None:
    production = new_production()
    await taken(production.read(0, chunks(6)))
    await asyncio.sleep(FORGOTTEN_AFTER_SECONDS)
    assert production.pace.rate() is None


async def _overdue() -> None:
    production = new_production(2)
    await taken(production.read(0, chunks(10)))
    reading = asyncio.create_task(taken(production.read(1, chunks(2, every=60.0))))
    await asyncio.sleep(10.0)
    rate = production.rate
    reading.cancel()
    assert rate is not None
    assert rate < 0.5
    await asyncio.wait([reading])
    assert production.pace.running == 0


async def _stall() -> None:
    """A container that starts anew in mid-speech is soon as fast as it was."""
    production = new_production(2)
    await taken(production.read(0, chunks(20, every=0.04)))
    await taken(production.read(1, chunks(6, every=0.04, first=60.0)))
    rate = production.pace.rate()
    assert rate is not None
    assert rate > 1.5


async def _lengths() -> None:
    production = new_production(2)
    await taken(production.read(0, chunks(10)))
    first, second = production.parts
    assert production.usual_seconds(first) == 0
    assert 0 < production.usual_seconds(second) < production.most_seconds(second, is_next=True)
    longest = first.speech / first.expected * UNSURE_MARGIN * second.expected
    assert production.most_seconds(second, is_next=True) == pytest.approx(longest)
    assert production.seconds_to_produce() == pytest.approx(
        production.usual_seconds(second) / 0.8, rel=0.01
    )


async def _nothing_in_it() -> None:
    """A chunk without samples, as at a restart, divides nothing by nothing."""
    production = new_production()
    await taken(production.read(0, chunks(3, seconds=0.0)))
    rate = production.pace.rate()
    assert rate is not None
    assert rate > 0


@pytest.mark.parametrize(
    "case",
    [
        _rates,
        _reader_is_away,
        _reader_is_slow,
        _sentences_at_a_time,
        _forgets,
        _overdue,
        _stall,
        _lengths,
        _nothing_in_it,
    ],
    ids=lambda case: case.__name__.strip("_"),
)
def test_production(case: type[Coroutine[None, None, None]]) -> None:
    run_virtually(case())
