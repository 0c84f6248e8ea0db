"""Live speech has the loudness of files, from the voice's last measured loudness."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bot.audio.loudness import CEILING, TARGET_LOUDNESS, LoudnessMeter, to_float, to_pcm
from bot.streaming import SpeechChunk, leveled
from tests.support.loudness import integrated_loudness
from tests.support.recordings import speech

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

RATE = 24_000
CHUNK_SAMPLES = 1_920


def chunks(
    sentence: int, decibels: float, seconds: float = 6.0, *, loudness: float | None
) -> list[SpeechChunk]:
    samples = speech(seconds) * np.float32(10 ** (decibels / 20))
    starts = range(0, len(samples), CHUNK_SAMPLES)
    last = starts[-1]
    return [
        SpeechChunk(
            to_pcm(samples[at : at + CHUNK_SAMPLES]),
            RATE,
            sentence,
            ends_sentence=at == last,
            loudness=loudness,
        )
        for at in starts
    ]


def lufs(pcm: bytes) -> float:
    return integrated_loudness(to_float(pcm), RATE)


async def heard(given: Sequence[SpeechChunk]) -> list[SpeechChunk]:
    async def stream() -> AsyncGenerator[SpeechChunk, None]:
        for chunk in given:
            yield chunk

    return [chunk async for chunk in leveled(stream())]


def pcm_of(given: Sequence[SpeechChunk]) -> bytes:
    return b"".join(chunk.pcm for chunk in given)


@pytest.mark.parametrize("decibels", [-16, -8, 0, 4])
@pytest.mark.parametrize("off_by", [-2, 0, 2])
async def test_a_voice_that_was_measured_before(decibels: float, off_by: float) -> None:
    raw = chunks(1, decibels, loudness=None)
    known = chunks(1, decibels, loudness=lufs(pcm_of(raw)) + off_by)
    out = pcm_of(await heard(known))
    assert lufs(out) == pytest.approx(TARGET_LOUDNESS, abs=3.0)
    assert np.abs(to_float(out)).max() <= CEILING + 1e-4
    assert len(out) == len(pcm_of(raw))


@pytest.mark.parametrize("decibels", [-10, -5, 0, 4])
async def test_a_voice_that_nobody_measured_is_followed(decibels: float) -> None:
    meter = LoudnessMeter(RATE)
    raw = chunks(1, decibels, loudness=None)
    measured = []
    for chunk in raw:
        meter.push(to_float(chunk.pcm))
        measured.append(replace(chunk, loudness=meter.estimate(None)))
    assert lufs(pcm_of(await heard(measured))) == pytest.approx(TARGET_LOUDNESS, abs=3.0)


async def test_is_late_by_a_few_milliseconds() -> None:
    taken = 0
    given = 0

    async def stream() -> AsyncGenerator[SpeechChunk, None]:
        nonlocal taken
        for chunk in chunks(1, 0, loudness=-20.0):
            assert taken - given <= 0.02 * RATE
            taken += len(chunk.pcm) // 2
            yield chunk

    async for chunk in leveled(stream()):
        given += len(chunk.pcm) // 2
    assert given == taken


async def test_sentences_keep_their_numbers_ends_and_lengths() -> None:
    raw = [*chunks(1, 0, 2.0, loudness=-20.0), *chunks(2, 0, 3.0, loudness=-21.0)]
    out = await heard(raw)
    for number in (1, 2):
        before = [chunk for chunk in raw if chunk.sentence == number]
        after = [chunk for chunk in out if chunk.sentence == number]
        assert len(pcm_of(after)) == len(pcm_of(before))
        assert [chunk.ends_sentence for chunk in after].count(True) == 1
        assert after[-1].ends_sentence
    assert all(chunk.pcm for chunk in out)


async def test_what_is_begun_again_has_nothing_of_the_first_attempt() -> None:
    first = SpeechChunk(to_pcm(np.full(5_000, 0.5, np.float32)), RATE, 1, loudness=-20.0)
    silence = SpeechChunk(bytes(2 * 5_000), RATE, 1, restarts=True, loudness=-20.0)
    out = await heard([first, silence])
    again = [chunk.restarts for chunk in out].index(True)
    assert pcm_of(out[again:]) == silence.pcm


async def test_a_restart_that_begins_with_few_samples_is_still_a_restart() -> None:
    few = SpeechChunk(bytes(20), RATE, 1, restarts=True, loudness=-20.0)
    more = SpeechChunk(bytes(2_000), RATE, 1, loudness=-20.0)
    out = await heard([*chunks(1, 0, 1.0, loudness=-20.0)[:-1], few, more])
    assert [chunk.restarts for chunk in out].count(True) == 1
    assert len(pcm_of(out[[chunk.restarts for chunk in out].index(True) :])) == 2_020


async def test_a_faint_word_is_not_blown_up() -> None:
    word = chunks(1, -30, 0.4, loudness=None)
    before, after = (np.abs(to_float(pcm_of(each))).max() for each in (word, await heard(word)))
    assert after <= before * 10 ** (6 / 20)


async def test_silence_stays_silent() -> None:
    silence = SpeechChunk(bytes(48_000), RATE, 1)
    assert pcm_of(await heard([silence])) == silence.pcm
