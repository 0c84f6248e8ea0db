"""Speech that comes slowly is heard without holes, and begins as early as that allows."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import Reason, Refusal
from bot.playback import pacing
from tests.support.slow_speech import (
    Listening,
    SlowBackend,
    entry_for,
    listen,
    new_pace,
    new_player,
)
from tests.support.virtual_time import run_virtually

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXT = [2.0, 3.5, 2.5, 4.0]
GROWING = (0.12, 0.32, 0.64, 0.96, 1.6)
"""As the engine's chunks are on a processor, the first without what the watermark holds back."""

SOON = 0.12
"""By how much the start may be later than without pacing, if nothing was measured before."""


def heard(backend: SlowBackend, characters: Sequence[int] | None = None) -> Listening:
    async def played() -> Listening:
        return await listen(backend, pace=new_pace(), characters=characters)

    return run_virtually(played())


def as_before(backend: SlowBackend) -> Listening:
    """What would be heard if nothing were waited for."""
    return run_virtually(listen(backend))


def one_after_the_other(backends: list[SlowBackend]) -> list[Listening]:
    """Texts that are spoken by the same backend, each when the one before has been heard."""

    async def played() -> list[Listening]:
        pace = new_pace()
        return [await listen(backend, pace=pace) for backend in backends]

    return run_virtually(played())


def constant(
    rate: float, lengths: Sequence[float], chunks: Sequence[float] = (0.32,)
) -> SlowBackend:
    return SlowBackend(lambda _now: rate, lengths, chunks)


@pytest.mark.parametrize("lengths", [[5.0], TEXT])
@pytest.mark.parametrize("chunks", [(0.32,), GROWING])
@pytest.mark.parametrize("rate", [0.3, 0.5, 0.8, 0.95])
def test_slow_speech_has_no_holes(
    rate: float, chunks: Sequence[float], lengths: list[float]
) -> None:
    listening = heard(constant(rate, lengths, chunks))
    assert not listening.holes
    assert not listening.late
    assert listening.begins <= listening.produced + 0.4, "it waits no longer than for all of it"


@pytest.mark.parametrize(("rate", "speed"), [(0.6, 2.0), (1.3, 2.0), (1.8, 2.0), (0.4, 0.5)])
def test_speech_that_is_heard_faster_or_slower_has_no_holes(rate: float, speed: float) -> None:
    """At double speed, it must come twice as fast."""
    texts = [3.0, 5.0, 4.0, 6.0]

    async def played() -> Listening:
        return await listen(constant(rate, texts), pace=new_pace(), speed=speed)

    listening = run_virtually(played())
    pauses = listening.holes + listening.late  # where one sentence fades into the next
    assert all(pause <= 0.32 / speed for pause in pauses)
    assert listening.begins <= listening.produced + 0.4
    assert listening.ends - listening.begins == pytest.approx(sum(texts) / speed, rel=0.1)


def test_slowed_speech_that_comes_in_time_begins_at_once() -> None:
    async def played() -> Listening:
        return await listen(constant(0.8, TEXT), pace=new_pace(), speed=0.5)

    listening = run_virtually(played())
    assert not listening.holes
    assert listening.begins < 2.0, "it comes in time"


def test_without_waiting_there_would_be_holes() -> None:
    assert as_before(constant(0.8, TEXT)).holes


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.floats(min_value=0.6, max_value=5.0), min_size=1, max_size=4),
    st.floats(min_value=0.4, max_value=1.2),
    st.sampled_from([(0.32,), GROWING, (0.8,)]),
)
def test_whatever_the_sentences_no_word_is_torn(
    lengths: list[float], rate: float, chunks: Sequence[float]
) -> None:
    listening = heard(constant(rate, lengths, chunks))
    assert not listening.holes
    assert listening.begins <= listening.produced + 0.4


@pytest.mark.parametrize("rate", [1.1, 2.0, 10.0])
@pytest.mark.parametrize("lengths", [[5.0], TEXT])
def test_fast_speech_begins_as_early_as_ever(rate: float, lengths: list[float]) -> None:
    before = as_before(constant(rate, lengths))
    first, second = one_after_the_other([constant(rate, lengths) for _ in range(2)])
    assert first.first_frame == pytest.approx(before.first_frame)
    assert second.first_frame == pytest.approx(before.first_frame)
    assert second.begins == pytest.approx(before.begins)
    assert first.begins <= before.begins + (SOON if rate < 1.5 else 1e-6)
    assert not first.holes
    assert not second.holes


def test_a_gpu_that_had_to_wake_up_begins_as_early_as_ever() -> None:
    """Its first chunk says nothing of its speed, and the second one comes at once."""
    gpu = [
        SlowBackend(lambda _now: 10.0, [2.0, 3.0], (0.03, 0.16, 0.64), first_seconds=seconds)
        for seconds in (30.0, 0.1)
    ]
    for backend, paced in zip(gpu, one_after_the_other(gpu), strict=True):
        backend.begun = 0
        before = as_before(backend)
        assert paced.first_frame == pytest.approx(before.first_frame)
        assert paced.begins == pytest.approx(before.begins)


def test_growing_chunks_are_known_after_the_first_sentence() -> None:
    first, second = one_after_the_other([constant(1.2, TEXT, GROWING) for _ in range(2)])
    assert not first.holes
    assert not second.holes
    assert second.begins < first.begins


def test_once_lengths_are_known_a_sentence_begins_before_it_is_complete() -> None:
    *_, last = one_after_the_other([constant(0.8, [5.0]) for _ in range(6)])
    assert not last.holes
    assert last.begins < 0.6 * last.produced


def test_sentences_much_longer_than_their_text_have_no_holes() -> None:
    for seconds in (3.0, 6.0, 9.0):
        assert not heard(constant(0.8, [seconds]), characters=[31]).holes


def test_sentences_that_come_together_are_measured_together() -> None:
    def backend() -> SlowBackend:
        alike = (1.0, 0.7, 0.55, 0.45)
        return SlowBackend(
            lambda _now: 0.8, [*TEXT, *TEXT], GROWING, 4, lambda rows: alike[rows - 1]
        )

    first, second = one_after_the_other([backend(), backend()])
    alone = heard(constant(0.8, [*TEXT, *TEXT], GROWING))
    for listening in (first, second):
        assert not listening.holes
        assert not listening.late
        assert listening.begins < alone.begins


def test_one_sentence_tells_nothing_of_four_at_a_time() -> None:
    def backend(lengths: list[float]) -> SlowBackend:
        return SlowBackend(lambda _now: 1.3, lengths, GROWING, 4, lambda rows: 1 / rows)

    _, second = one_after_the_other([backend([5.0]), backend(TEXT)])
    assert not second.holes


@pytest.mark.parametrize("slower", [0.6, 0.3])
def test_if_it_gets_slower_it_waits_between_sentences(slower: float) -> None:
    listening = heard(SlowBackend(lambda now: 1.6 if now < 6 else slower, TEXT * 2))
    assert listening.begins < 1
    assert not listening.holes
    assert listening.late


def test_if_it_gets_slower_within_a_sentence_there_is_one_hole() -> None:
    listening = heard(SlowBackend(lambda now: 1.1 if now < 2 else 0.5, [9.0]))
    assert len(listening.holes) == 1


def test_if_it_gets_faster_it_begins_earlier_than_was_told() -> None:
    listening = heard(SlowBackend(lambda now: 0.5 if now < 6 else 2.0, TEXT * 2))
    told = next(wait for wait in listening.waits if wait)
    assert not listening.holes
    assert listening.begins < told


@pytest.mark.parametrize("rate", [0.5, 0.8])
def test_the_wait_is_told(rate: float) -> None:
    listening = heard(constant(rate, TEXT))
    told = [(at, wait) for at, wait in enumerate(listening.waits) if wait]
    assert told
    at, wait = told[len(told) // 2]
    assert at + wait == pytest.approx(listening.begins, rel=0.3)


def test_a_text_that_takes_too_long_is_played_sentence_by_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pacing, "MAX_WAIT_SECONDS", 12.0)
    monkeypatch.setattr(pacing, "MAX_PAUSE_SECONDS", 8.0)
    listening = heard(constant(0.3, [1.5, 2.5, 2.0] * 3))
    assert 12.0 < listening.begins < 14.0
    assert not listening.holes
    assert listening.late
    assert max(listening.late) <= 9.0
    assert max(wait or 0.0 for wait in listening.waits) <= 12.0


def test_a_sentence_that_takes_longer_than_any_wait_is_still_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pacing, "MAX_WAIT_SECONDS", 5.0)
    listening = heard(constant(0.3, [4.0]))
    assert listening.begins > 10.0
    assert not listening.holes


def test_the_buffer_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "MAX_BUFFERED_SECONDS", 12.0)
    listening = heard(constant(1.45, [6.0] * 7))
    assert 11.0 < listening.most_buffered < 13.0
    assert not listening.holes


def test_what_each_sentence_takes_before_it_is_begun_is_made_up_for_while_it_waits() -> None:
    """Each is made fast once it is begun, but a text of short ones takes longer than to hear."""
    texts = [SlowBackend(lambda _now: 2.0, [0.8] * 40, first_seconds=1.0) for _ in range(2)]
    *_, listening = one_after_the_other(texts)
    assert not listening.holes
    assert max(listening.late, default=0.0) < 1.0
    assert listening.ends < listening.produced + 5.0


def test_a_typed_pause_lasts_as_long_as_it_says() -> None:
    """Once lengths are known; until then it is hardly longer."""

    async def played() -> None:
        pace = new_pace()
        for longest in (6.5, 6.5, 5.1):
            entry = entry_for(constant(0.5, [2.0, 6.0]), pace, silence=5.0)
            player, link = new_player()
            player.add(entry)
            await entry.heard()
            sounds = [when for when, level in link.frames if level > 0]
            pause = max(after - before for before, after in pairwise(sounds))
            assert 4.9 < pause < longest

    run_virtually(played())


def test_nothing_is_sent_while_the_start_is_far_off() -> None:
    async def played() -> None:
        player, link = new_player()
        entry = entry_for(constant(0.5, TEXT), new_pace())
        player.add(entry)
        await asyncio.sleep(5.0)
        sent = len(link.frames)
        await asyncio.sleep(5.0)
        assert len(link.frames) == sent
        await entry.heard()
        assert link.plays == 2

    run_virtually(played())


def test_whoever_stops_it_while_it_waits_hears_nothing() -> None:
    async def played() -> None:
        player, link = new_player()
        entry = entry_for(constant(0.5, TEXT), new_pace())
        player.add(entry)
        await asyncio.sleep(8.0)
        player.remove(entry, Refusal(Reason.SPEECH_STOPPED))
        with pytest.raises(Refusal):
            await entry.heard()
        await asyncio.sleep(1.0)
        assert not player.is_busy
        assert all(level == 0 for _, level in link.frames)

    run_virtually(played())


def test_entries_that_wait_are_prefetched_and_have_no_holes() -> None:
    async def played() -> None:
        pace, now = new_pace(), asyncio.get_running_loop().time
        player, link = new_player()
        entries = [entry_for(constant(0.8, lengths), pace) for lengths in ([4.0], TEXT, [3.0])]
        for entry in entries:
            player.add(entry)
        ends: list[float] = []
        for entry in entries:
            await entry.heard()
            ends.append(now())
        sounds = [when for when, level in link.frames if level > 0]
        begins = [next(when for when in sounds if when > end) for end in ends[:-1]]
        waited = [begin - end for begin, end in zip(begins, ends, strict=False)]
        alone = [heard_alone.begins for heard_alone in await _alone([TEXT, [3.0]])]
        assert all(wait < other for wait, other in zip(waited, alone, strict=True))

    async def _alone(texts: list[list[float]]) -> list[Listening]:
        pace = new_pace()
        return [await listen(constant(0.8, lengths), pace=pace) for lengths in texts]

    run_virtually(played())


def test_the_queue_tells_when_entries_begin_and_end() -> None:
    async def played() -> None:
        pace, now = new_pace(), asyncio.get_running_loop().time
        await listen(constant(0.5, TEXT), pace=pace)
        player, link = new_player()
        first, second = entry_for(constant(0.5, TEXT), pace), entry_for(constant(0.5, TEXT), pace)
        player.add(first)
        player.add(second)
        await asyncio.sleep(5.0)
        asked_at = now()
        current, waiting = player.positions()
        assert current.starts_in == 0
        await first.heard()
        first_took = now() - asked_at
        await second.heard()
        sounds = [when - asked_at for when, level in link.frames if level > 0]
        begins = next(when for when in sounds if when > first_took)
        assert current.ends_in == pytest.approx(first_took, rel=0.2)
        assert waiting.starts_in == pytest.approx(begins, rel=0.2)

    run_virtually(played())
