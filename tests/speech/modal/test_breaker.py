"""Modal is left alone while it does not answer, and found again by itself."""

from __future__ import annotations

import pytest

from bot.errors import explain
from bot.speech.errors import BackendUnreachableError
from bot.speech.modal.breaker import SECONDS_TO_LOOK, Breaker


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock)


def fails(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        breaker.check()
        breaker.failed()


def pause_of(breaker: Breaker) -> float:
    with pytest.raises(BackendUnreachableError) as caught:
        breaker.check()
    assert caught.value.retry_after is not None
    return caught.value.retry_after


def test_single_failures_do_not_open_it(breaker: Breaker) -> None:
    fails(breaker, 2)
    breaker.succeeded()
    fails(breaker, 2)
    breaker.check()


def test_a_look_that_finds_the_door_open_does_not_hide_that_calls_fail(breaker: Breaker) -> None:
    for _ in range(3):
        breaker.check()
        breaker.reached()
        breaker.failed()
    assert pause_of(breaker) == pytest.approx(15)


def test_a_look_that_was_given_up_keeps_nobody_waiting(breaker: Breaker, clock: Clock) -> None:
    fails(breaker, 3)
    clock.now += 15
    breaker.check()
    breaker.gave_up_looking()
    breaker.check()


def test_refuses_at_once_after_three_and_says_when_it_looks_again(
    breaker: Breaker, clock: Clock
) -> None:
    fails(breaker, 3)
    assert pause_of(breaker) == pytest.approx(15)
    clock.now += 5
    assert pause_of(breaker) == pytest.approx(10)
    with pytest.raises(BackendUnreachableError) as caught:
        breaker.check()
    assert "I look for it again in about 10 s; please try again then." in explain(caught.value)


def test_after_the_pause_one_goes_to_look_and_opens_the_way(breaker: Breaker, clock: Clock) -> None:
    fails(breaker, 3)
    clock.now += 16
    breaker.check()
    assert pause_of(breaker) > 0, "the others wait for what the first one finds"
    breaker.succeeded()
    fails(breaker, 2)
    breaker.check()


def test_the_pause_grows_while_nobody_answers_up_to_a_limit(breaker: Breaker, clock: Clock) -> None:
    fails(breaker, 3)
    pauses = []
    for _ in range(5):
        clock.now += 1_000
        fails(breaker, 1)
        pauses.append(pause_of(breaker))
    assert pauses == pytest.approx([30, 60, 120, 120, 120])


def test_one_that_went_to_look_and_was_stopped_blocks_nobody_for_ever(
    breaker: Breaker, clock: Clock
) -> None:
    fails(breaker, 3)
    clock.now += 16
    breaker.check()
    clock.now += SECONDS_TO_LOOK + 1
    breaker.check()
