"""What the bot knows about the cold start of a container."""

from __future__ import annotations

import pytest

from bot.speech.backend import ColdStart
from bot.speech.modal.cold_start import ColdStarts
from tests.speech.remote.test_breaker import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def containers(clock: Clock) -> ColdStarts:
    return ColdStarts(clock)


def start(containers: ColdStarts, clock: Clock, seconds: float) -> None:
    clock.now += 3_600
    with containers.waiting():
        clock.now += seconds
        containers.answered()


def test_the_first_call_sees_how_long_the_container_has_been_starting(
    containers: ColdStarts, clock: Clock
) -> None:
    assert containers.cold_start() is None
    with containers.waiting():
        clock.now += 12
        assert containers.cold_start() == ColdStart(seconds=12, usual_seconds=40)
        containers.answered()
        assert containers.cold_start() is None
    assert containers.is_warm()


def test_a_later_call_sees_the_time_since_the_first_one(
    containers: ColdStarts, clock: Clock
) -> None:
    with containers.waiting():
        clock.now += 10
        with containers.waiting():
            clock.now += 10
            assert containers.cold_start() == ColdStart(seconds=20, usual_seconds=40)


def test_the_usual_time_is_the_median_of_the_starts_seen(
    containers: ColdStarts, clock: Clock
) -> None:
    for seconds in (70, 90, 300):
        start(containers, clock, seconds)
    clock.now += 3_600
    with containers.waiting():
        clock.now += 5
        assert containers.cold_start() == ColdStart(seconds=5, usual_seconds=90)


def test_a_quick_answer_is_no_cold_start(containers: ColdStarts, clock: Clock) -> None:
    with containers.waiting():  # the bot has just started, the container was up
        clock.now += 1.5
        assert containers.cold_start() is None
        containers.answered()
    clock.now += 3_600
    with containers.waiting():
        clock.now += 5
        assert containers.cold_start() == ColdStart(seconds=5, usual_seconds=40)


def test_a_warm_container_may_take_a_moment_to_answer(containers: ColdStarts, clock: Clock) -> None:
    containers.answered()
    clock.now += 10
    with containers.waiting():
        clock.now += 6
        assert containers.cold_start() is None
        clock.now += 6
        assert containers.cold_start() == ColdStart(seconds=12, usual_seconds=40)


def test_a_container_that_answers_other_calls_is_not_starting(
    containers: ColdStarts, clock: Clock
) -> None:
    containers.answered()
    clock.now += 10
    with containers.waiting():
        clock.now += 10
        containers.answered()
        clock.now += 10
        assert containers.cold_start() is None


def test_after_a_container_died_another_one_starts(containers: ColdStarts, clock: Clock) -> None:
    containers.answered()
    containers.lost()
    clock.now += 1
    with containers.waiting():
        clock.now += 3
        assert containers.cold_start() == ColdStart(seconds=3, usual_seconds=40)
