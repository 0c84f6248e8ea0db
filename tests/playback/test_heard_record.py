"""Where speech goes on after an interruption: little is said twice, and what is missing is told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bot.playback.heard import REPEATED_SECONDS, HeardRecord

BYTES_PER_SECOND = 100


def played(seconds: int) -> HeardRecord:
    """A record of speech that began at 0 s, with ten notes a second."""
    record = HeardRecord()
    for tenth in range(seconds * 10 + 1):
        record.note(tenth / 10, tenth * BYTES_PER_SECOND // 10)
    return record


def test_without_doubts_it_goes_on_at_the_last_note() -> None:
    restart = played(5).restart(None)
    assert (restart.position, restart.is_complete) == (5 * BYTES_PER_SECOND, True)


def test_what_is_not_proven_is_said_again() -> None:
    restart = played(5).restart(4.0)
    assert (restart.position, restart.is_complete) == (4 * BYTES_PER_SECOND, True)


def test_much_is_not_said_again_but_told() -> None:
    restart = played(9).restart(3.0)
    assert restart.position >= (9 - REPEATED_SECONDS - 0.11) * BYTES_PER_SECOND
    assert not restart.is_complete


def test_what_went_wrong_before_the_speech_began_costs_nothing() -> None:
    record = HeardRecord()
    record.note(100.0, 0)
    restart = record.restart(3.0)
    assert (restart.position, restart.is_complete) == (0, True)


@given(
    st.lists(st.tuples(st.floats(0, 0.3), st.integers(0, 30)), min_size=1, max_size=200),
    st.none() | st.floats(0, 60),
)
def test_it_goes_back_at_most_two_seconds_and_never_forward(
    steps: list[tuple[float, int]], proven: float | None
) -> None:
    record = HeardRecord()
    now, position = 0.0, 0
    notes = []
    for step, played_bytes in steps:
        now += step
        position += played_bytes
        notes.append((now, position))
        record.note(now, position)
    restart = record.restart(proven)
    assert restart.position <= position
    oldest = max((at for at, where in notes if where <= restart.position), default=0.0)
    assert now - oldest <= 2.2
    if proven is not None and restart.is_complete:
        assert all(where <= restart.position or at > proven for at, where in notes)
