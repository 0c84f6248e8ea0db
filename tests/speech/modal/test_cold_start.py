"""What people are told of a container that starts."""

from __future__ import annotations

import pytest

from bot.speech.backend import Waking
from bot.speech.modal.cold_start import Wakefulness
from tests.speech.test_modal_breaker import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def containers(clock: Clock) -> Wakefulness:
    return Wakefulness(clock)


def start(containers: Wakefulness, clock: Clock, seconds: float) -> None:
    clock.now += 3_600
    with containers.waiting():
        clock.now += seconds
        containers.heard()


def test_the_first_call_wakes_a_container_and_sees_for_how_long(
    containers: Wakefulness, clock: Clock
) -> None:
    assert containers.waking() is None
    with containers.waiting():
        clock.now += 12
        assert containers.waking() == Waking(seconds=12, usual_seconds=40)
        containers.heard()
        assert containers.waking() is None
    assert containers.is_awake()


def test_who_joins_sees_how_long_it_has_been_already(containers: Wakefulness, clock: Clock) -> None:
    with containers.waiting():
        clock.now += 10
        with containers.waiting():
            clock.now += 10
            assert containers.waking() == Waking(seconds=20, usual_seconds=40)


def test_what_is_usual_is_learned(containers: Wakefulness, clock: Clock) -> None:
    for seconds in (70, 90, 300):
        start(containers, clock, seconds)
    clock.now += 3_600
    with containers.waiting():
        clock.now += 5
        assert containers.waking() == Waking(seconds=5, usual_seconds=90)


def test_an_answer_that_comes_at_once_is_no_start(containers: Wakefulness, clock: Clock) -> None:
    with containers.waiting():  # the bot has just started, the container was up
        clock.now += 1.5
        assert containers.waking() is None
        containers.heard()
    clock.now += 3_600
    with containers.waiting():
        clock.now += 5
        assert containers.waking() == Waking(seconds=5, usual_seconds=40)


def test_a_container_that_is_up_may_be_busy_for_a_moment(
    containers: Wakefulness, clock: Clock
) -> None:
    containers.heard()
    clock.now += 10
    with containers.waiting():
        clock.now += 6
        assert containers.waking() is None
        clock.now += 6
        assert containers.waking() == Waking(seconds=12, usual_seconds=40)


def test_one_that_is_busy_with_others_is_not_waking(containers: Wakefulness, clock: Clock) -> None:
    containers.heard()
    clock.now += 10
    with containers.waiting():
        clock.now += 10
        containers.heard()
        clock.now += 10
        assert containers.waking() is None


def test_after_one_died_another_has_to_wake(containers: Wakefulness, clock: Clock) -> None:
    containers.heard()
    containers.lost()
    clock.now += 1
    with containers.waiting():
        clock.now += 3
        assert containers.waking() == Waking(seconds=3, usual_seconds=40)
