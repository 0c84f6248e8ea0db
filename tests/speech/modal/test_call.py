"""The chunks of two containers, merged into one stream."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract import PcmChunk
from bot.speech.errors import SpeechInterruptedError
from bot.speech.modal.call import RunMerger

if TYPE_CHECKING:
    from collections.abc import Sequence

RATE = 24_000


def run(borders: Sequence[int], length: int = 1_000) -> list[PcmChunk]:
    """One run of a call: the samples 0, 1, 2 and so on, in chunks that end at these borders."""
    inner = {border for border in borders if 0 < border < length}
    edges = [0, *sorted(inner), length]
    return [
        PcmChunk(
            b"".join(number.to_bytes(2, "little") for number in range(first, last)),
            RATE,
            first_sample=first,
        )
        for first, last in itertools.pairwise(edges)
    ]


@given(
    st.lists(st.integers(1, 999)),
    st.lists(st.integers(1, 999)),
    st.integers(0, 10),
)
def test_no_sample_is_repeated_or_left_out_without_an_error(
    first: list[int], second: list[int], arrived: int
) -> None:
    # The first container is lost after some chunks; Modal's client skips as many of the second's.
    chunks = run(first)[:arrived] + run(second)[arrived:]
    whole = b"".join(chunk.pcm for chunk in run([]))
    merger = RunMerger()
    merged = b""
    try:
        for chunk in chunks:
            merged += merger.merge(chunk).pcm
    except SpeechInterruptedError:
        assert whole.startswith(merged)
        return
    assert whole.startswith(merged)


def test_a_gap_raises_an_interruption() -> None:
    merger = RunMerger()
    merger.merge(run([100, 200])[0])
    with pytest.raises(SpeechInterruptedError):
        merger.merge(run([100, 200])[2])


def test_speech_that_restarts_counts_from_its_beginning() -> None:
    merger = RunMerger()
    merger.merge(run([])[0])
    again = PcmChunk(b"ab", RATE, restarts=True, first_sample=0)
    assert merger.merge(again) == again
    more = PcmChunk(b"cd", RATE, first_sample=1)
    assert merger.merge(more) == more


def test_chunks_without_a_position_pass_unchanged() -> None:
    merger = RunMerger()
    chunks = [PcmChunk(b"ab", RATE), PcmChunk(b"cd", RATE)]
    assert [merger.merge(chunk) for chunk in chunks] == chunks
