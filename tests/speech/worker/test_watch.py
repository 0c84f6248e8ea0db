"""Which processes are taken for hanging, and when another one may be started."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.interface.wording.sentences import explain
from bot.speech.errors import BackendKeepsFailingError
from bot.speech.worker.restarts import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Restarts
from bot.speech.worker.watch import Limits, Watch

LIMITS = Limits(beat=1.0, boot=20.0, silence=10.0, doubt=4.0, step=30.0)
AN_HOUR = 3_600.0


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A process as the bot sees it: each second it is asked, and may answer."""

    def __init__(self, *, load_seconds: float = 60.0) -> None:
        self.clock = Clock()
        self.watch = Watch(LIMITS, load_seconds=load_seconds, clock=self.clock)

    def lives(self, seconds: float, *, step: int | None = None, answers: bool = True) -> None:
        """Let time pass, in which it is at one step, or does nothing."""
        for _ in range(round(seconds)):
            self.clock.now += 1.0
            self.watch.tick()
            if answers:
                self.watch.answered(step)

    def loaded(self) -> Watched:
        self.watch.answered(None)
        self.watch.loaded()
        return self


@given(st.lists(st.tuples(st.integers(1, 30), st.sampled_from([None, 0, 1, 2])), max_size=40))
def test_one_whose_steps_end_is_never_taken_for_hanging(work: list[tuple[int, int | None]]) -> None:
    """However long all of it takes: each step takes at most as long as one may."""
    process = Watched().loaded()
    for number, (seconds, kind) in enumerate(work):
        process.lives(seconds, step=None if kind is None else number)
        assert process.watch.verdict() is None


@given(
    st.lists(st.tuples(st.integers(1, 20), st.booleans()), max_size=10),
    st.sampled_from(["silent", "stuck"]),
)
def test_one_that_hangs_is_found_whatever_it_did_before(
    before: list[tuple[int, bool]], how: str
) -> None:
    process = Watched().loaded()
    for number, (seconds, works) in enumerate(before):
        process.lives(seconds, step=number if works else None)
    if how == "silent":
        process.lives(LIMITS.silence + 1, answers=False)
    else:
        process.lives(LIMITS.step + 2, step=-1)
    assert process.watch.verdict() is not None


def test_one_that_may_hang_is_in_doubt_before_it_is_given_up() -> None:
    process = Watched().loaded()
    seen = []
    for seconds, step, answers in (
        (LIMITS.silence - 1, None, False),
        (1, None, True),
        (LIMITS.step - 1, 7, True),
    ):
        process.lives(seconds, step=step, answers=answers)
        assert process.watch.verdict() is None
        seen.append(process.watch.is_in_doubt)
    assert seen == [True, False, True]


@pytest.mark.parametrize("has_started", [False, True])
def test_what_loads_may_be_silent_for_longer_than_later(*, has_started: bool) -> None:
    """Python starts, and native libraries are read from a slow disk under its lock."""
    process = Watched()
    process.lives(3, answers=has_started)
    process.lives(LIMITS.boot - (1 if has_started else 4), answers=False)
    assert process.watch.verdict() is None
    process.lives(2, answers=False)
    assert process.watch.verdict() == "the process did not answer for 20 s"


def test_loading_may_take_long_but_not_for_ever() -> None:
    process = Watched(load_seconds=200.0)
    process.lives(199)
    assert process.watch.verdict() is None
    process.lives(2)
    assert process.watch.verdict() == "the model was not loaded within 200 s"


@pytest.mark.parametrize(("last", "allowed"), [(5, 600), (900, 2_700), (10**6, 86_400)])
def test_a_machine_that_loads_slowly_gets_as_long_again(last: float, allowed: float) -> None:
    assert Limits().load_again(last) == allowed


@pytest.mark.parametrize("step", [None, 5])
def test_an_hour_in_which_the_bot_itself_was_stopped_does_not_count(step: int | None) -> None:
    process = Watched().loaded()
    process.lives(2, step=step)
    process.clock.now += AN_HOUR
    process.lives(2, step=step)
    assert process.watch.verdict() is None
    assert not process.watch.is_in_doubt


def pause_of(restarts: Restarts) -> float:
    try:
        restarts.check()
    except BackendKeepsFailingError as error:
        return error.retry_after
    return 0.0


def test_pauses_get_longer_while_processes_fail_and_are_forgotten_after_a_success() -> None:
    clock = Clock()
    restarts = Restarts(clock)
    pauses = []
    for _ in range(40):
        restarts.failed()
        pauses.append(pause_of(restarts))
        clock.now += pauses[-1]
        restarts.check()
    assert pauses[:3] == [0.0, FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
    restarts.succeeded()
    restarts.failed()
    restarts.check()


def test_a_pause_is_told_with_its_end() -> None:
    told = explain(BackendKeepsFailingError(3, 41.7))
    assert "I'll start it again in about 42 seconds" in told
