"""Whether speech comes in time: as forecast, whatever the sentences are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.playback.forecast import Coming, needs

RATES = st.floats(min_value=0.1, max_value=4.0)
LENGTHS = st.floats(min_value=0.3, max_value=20.0)
CLOSE = 1e-6


def sentence(seconds: float, chunk: float = 0.32, *, most: float | None = None) -> Coming:
    return Coming(seconds, most or seconds, seconds, chunk)


def arrivals(lengths: list[float], chunk: float, rate: float) -> list[tuple[float, float]]:
    """When chunks come that are produced one after the other, and how much each has."""
    found, now = [], 0.0
    for length in lengths:
        rest = length
        while rest > CLOSE:
            seconds = min(chunk, rest)
            now += seconds / rate
            rest -= seconds
            found.append((now, seconds))
    return found


def needed(lengths: list[float], chunk: float, rate: float) -> float:
    """How long playing has to wait so that no chunk is late."""
    heard, wait = 0.0, 0.0
    for when, seconds in arrivals(lengths, chunk, rate):
        wait = max(wait, when - heard)
        heard += seconds
    return wait


@given(st.lists(LENGTHS, min_size=1, max_size=12), st.floats(min_value=0.08, max_value=2.0), RATES)
def test_at_a_constant_rate_the_wait_suffices(
    lengths: list[float], chunk: float, rate: float
) -> None:
    found = needs(0.0, [sentence(each, chunk) for each in lengths], rate=rate)
    wait = max(each.probably for each in found)
    exact = needed(lengths, chunk, rate)
    assert wait >= exact - CLOSE
    assert wait <= exact + chunk, "it waits for at most a chunk in vain"
    assert wait <= sum(lengths) / rate + CLOSE, "it never waits longer than until all is there"


@given(LENGTHS, st.floats(min_value=1.0, max_value=3.0), RATES)
def test_one_sentence_may_be_longer_than_expected(
    seconds: float, factor: float, rate: float
) -> None:
    need = needs(0.0, [sentence(seconds, most=factor * seconds)], rate=rate)[0]
    assert need.surely >= needed([factor * seconds], 0.32, rate) - CLOSE
    assert need.from_now == pytest.approx(seconds / rate)


@given(st.lists(LENGTHS, min_size=1, max_size=12), RATES, st.floats(min_value=0.0, max_value=30.0))
def test_what_is_buffered_shortens_the_wait(
    lengths: list[float], rate: float, buffered: float
) -> None:
    coming = [sentence(each) for each in lengths]
    empty = needs(0.0, coming, rate=rate)
    for before, after in zip(empty, needs(buffered, coming, rate=rate), strict=True):
        assert after.surely == pytest.approx(before.surely - buffered)


def test_sentences_that_come_together_are_waited_for_less() -> None:
    """Four at a time, each a third as fast as one alone would be."""
    coming = [sentence(4.0) for _ in range(8)]
    alone = max(each.probably for each in needs(0.0, coming, rate=0.6))
    together = max(each.probably for each in needs(0.0, coming, rate=0.3, at_once=4))
    assert together < alone


def test_a_sentence_that_has_come_is_not_waited_for() -> None:
    complete = Coming(to_produce=0.0, at_most=0.0, to_hear=5.0, chunk=1.0)
    first, second = needs(1.0, [complete, sentence(2.0)], rate=0.5)
    assert first.surely == -1.0
    assert second.probably < 0


def test_what_is_under_way_counts() -> None:
    waiting = Coming(2.0, 2.0, 2.0, 1.0, is_running=True)
    under_way = Coming(2.0, 2.0, 2.0, 1.0, is_running=True, credit=0.5)
    first, second = (needs(1.0, [each], rate=0.8)[0].surely for each in (waiting, under_way))
    assert second == pytest.approx(first - 0.5)
