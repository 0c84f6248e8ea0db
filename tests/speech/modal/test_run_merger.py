"""Speech of two containers, put together."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract import PcmChunk
from bot.speech.errors import SpeechInterruptedError
from bot.speech.modal.seam import Seam

if TYPE_CHECKING:
    from collections.abc import Sequence

RATE = 24_000


def run(borders: Sequence[int], length: int = 1_000) -> list[PcmChunk]:
    """One run of a call that says the numbers from 0 on, in chunks that end at these borders."""
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
def test_nothing_is_heard_twice_or_left_out_unless_it_is_said(
    first: list[int], second: list[int], heard: int
) -> None:
    # The first container is lost after some chunks; Modal's client drops as many of the second's.
    chunks = run(first)[:heard] + run(second)[heard:]
    whole = b"".join(chunk.pcm for chunk in run([]))
    seam = Seam()
    said = b""
    try:
        for chunk in chunks:
            said += seam.fit(chunk).pcm
    except SpeechInterruptedError:
        assert whole.startswith(said)
        return
    assert whole.startswith(said)


def test_a_gap_is_an_interruption() -> None:
    seam = Seam()
    seam.fit(run([100, 200])[0])
    with pytest.raises(SpeechInterruptedError):
        seam.fit(run([100, 200])[2])


def test_speech_that_restarts_counts_from_its_beginning() -> None:
    seam = Seam()
    seam.fit(run([])[0])
    again = PcmChunk(b"ab", RATE, restarts=True, first_sample=0)
    assert seam.fit(again) == again
    more = PcmChunk(b"cd", RATE, first_sample=1)
    assert seam.fit(more) == more


def test_chunks_of_an_older_deployment_pass() -> None:
    seam = Seam()
    chunks = [PcmChunk(b"ab", RATE), PcmChunk(b"cd", RATE)]
    assert [seam.fit(chunk) for chunk in chunks] == chunks
