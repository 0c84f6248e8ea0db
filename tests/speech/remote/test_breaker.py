"""The circuit breaker opens while Modal does not answer, and closes by itself."""

from __future__ import annotations

import pytest

from bot.interface.wording.sentences import explain
from bot.speech.errors import BackendUnreachableError
from bot.speech.remote.breaker import PROBE_SECONDS, CircuitBreaker


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
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(clock)


def fails(breaker: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        breaker.check()
        breaker.failed()


def pause_of(breaker: CircuitBreaker) -> float:
    with pytest.raises(BackendUnreachableError) as caught:
        breaker.check()
    assert caught.value.retry_after is not None
    return caught.value.retry_after


def test_single_failures_do_not_open_it(breaker: CircuitBreaker) -> None:
    fails(breaker, 2)
    breaker.succeeded()
    fails(breaker, 2)
    breaker.check()


def test_a_successful_look_up_does_not_hide_that_calls_fail(breaker: CircuitBreaker) -> None:
    for _ in range(3):
        breaker.check()
        breaker.reached()
        breaker.failed()
    assert pause_of(breaker) == pytest.approx(15)


def test_a_cancelled_probe_lets_the_next_request_through(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    fails(breaker, 3)
    clock.now += 15
    breaker.check()
    breaker.probe_cancelled()
    breaker.check()


def test_opens_after_three_failures_and_says_for_how_long(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    fails(breaker, 3)
    assert pause_of(breaker) == pytest.approx(15)
    clock.now += 5
    assert pause_of(breaker) == pytest.approx(10)
    with pytest.raises(BackendUnreachableError) as caught:
        breaker.check()
    told = explain(caught.value)
    assert "I'll look for it again in about 10 seconds; please try again then." in told


def test_after_the_pause_one_probe_is_let_through_and_its_success_closes_it(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    fails(breaker, 3)
    clock.now += 16
    breaker.check()
    assert pause_of(breaker) > 0, "the others wait for the probe"
    breaker.succeeded()
    fails(breaker, 2)
    breaker.check()


def test_the_pause_doubles_up_to_a_limit_while_probes_fail(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    fails(breaker, 3)
    pauses = []
    for _ in range(5):
        clock.now += 1_000
        fails(breaker, 1)
        pauses.append(pause_of(breaker))
    assert pauses == pytest.approx([30, 60, 120, 120, 120])


def test_a_probe_that_never_reports_back_does_not_block_for_ever(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    fails(breaker, 3)
    clock.now += 16
    breaker.check()
    clock.now += PROBE_SECONDS + 1
    breaker.check()
