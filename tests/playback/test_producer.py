"""What is fed to a source: sentences that are said once, upsampled without audible edges."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract import VoicePrompt
from bot.playback.producer import Producer, Upsampler
from bot.playback.source import BYTES_PER_SECOND, SpeechSource
from bot.streaming import SpeechChunk, stream_speech
from bot.text import Sentence
from tests.support.scripted_backend import ScriptedBackend
from tests.support.sounds import pauses

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

RANDOM = np.random.default_rng(4)
NOISE = (RANDOM.standard_normal(12_000) * 6_000).clip(-32_768, 32_767).astype("<i2").tobytes()


def resampled(pcm: bytes, cuts: list[int], sample_rate: int = 24_000) -> bytes:
    upsampler = Upsampler(sample_rate)
    edges = [0, *sorted(2 * cut for cut in cuts), len(pcm)]
    parts = [upsampler.push(pcm[start:end]) for start, end in pairwise(edges)]
    return b"".join([*parts, upsampler.push(b"", last=True)])


@given(st.lists(st.integers(min_value=0, max_value=len(NOISE) // 2), max_size=30))
def test_a_stream_is_the_same_as_one_pass(cuts: list[int]) -> None:
    assert resampled(NOISE, cuts) == resampled(NOISE, [])


@pytest.mark.parametrize("sample_rate", [16_000, 22_050, 24_000, 44_100, 48_000])
def test_length_pitch_and_loudness_stay(sample_rate: int) -> None:
    times = np.arange(sample_rate) / sample_rate
    tone = (np.sin(2 * np.pi * 440 * times) * 12_000).astype("<i2")
    stereo = np.frombuffer(resampled(tone.tobytes(), [100, 5_000], sample_rate), "<i2")
    left, right = stereo[::2], stereo[1::2]
    assert np.array_equal(left, right)
    assert len(left) == pytest.approx(48_000, abs=2)
    expected = np.sin(2 * np.pi * 440 * np.arange(len(left)) / 48_000) * 12_000
    assert np.abs(left - expected)[500:-500].max() < 20


def test_the_loudest_sound_is_clipped_and_does_not_wrap() -> None:
    half = 12
    square = np.tile(np.repeat([32_767, -32_768], half), 200).astype("<i2").tobytes()
    left = np.frombuffer(resampled(square, []), "<i2")[::2].astype(int)
    middles = left.reshape(-1, 2 * half)[20:-20, half - 6 : half + 6]
    assert (np.abs(middles) > 25_000).all()  # a wave that is cut off ripples at its edges
    assert (np.sign(middles) == np.sign(middles[:, :1])).all()


SAMPLE_RATE = 24_000


def level(value: int, seconds: float) -> bytes:
    return np.full(round(seconds * SAMPLE_RATE), value, "<i2").tobytes()


class Speaks:
    """A source that is fed a sentence of two seconds, its second attempt, and another sentence."""

    def __init__(self) -> None:
        self.source = SpeechSource()
        self.producer = Producer(self._speech, self.source)
        self.first_attempt = asyncio.Event()
        self._restart = asyncio.Event()

    async def _speech(self) -> AsyncGenerator[SpeechChunk, None]:
        yield SpeechChunk(level(1_000, 2.0), SAMPLE_RATE, 1)
        self.first_attempt.set()
        await self._restart.wait()
        yield SpeechChunk(level(2_000, 1.0), SAMPLE_RATE, 1, restarts=True)
        yield SpeechChunk(level(2_000, 1.0), SAMPLE_RATE, 1, ends_sentence=True)
        yield SpeechChunk(level(3_000, 1.0), SAMPLE_RATE, 2)

    async def heard(self, *, before_the_restart: float) -> list[int]:
        """How many seconds are heard of the first attempt, the second, and the other sentence."""
        self.producer.start(on_end=lambda: None)
        await self.first_attempt.wait()
        pcm = b"".join(self.source.read() for _ in range(round(before_the_restart * 50)))
        self._restart.set()
        while self.producer.is_running:  # noqa: ASYNC110 - it sets no event
            await asyncio.sleep(0)
        while frame := self.source.read():
            pcm += frame
        samples = np.frombuffer(pcm, "<i2")[::2]
        near = [np.abs(samples - value) < 20 for value in (1_000, 2_000, 3_000)]
        return [round(np.count_nonzero(each) * 4 / BYTES_PER_SECOND) for each in near]


@pytest.mark.parametrize(("before_the_restart", "heard"), [(0.0, [0, 2, 1]), (0.6, [2, 0, 1])])
async def test_a_sentence_that_was_heard_is_not_said_again(
    before_the_restart: float, heard: list[int]
) -> None:
    assert await Speaks().heard(before_the_restart=before_the_restart) == heard


async def test_silence_that_was_typed_is_heard_live() -> None:
    sentences = [
        Sentence("One.", ends_paragraph=False, silence_before=1.0, silence_after=2.0),
        Sentence("Two.", ends_paragraph=True, silence_after=1.5),
    ]
    prompt = VoicePrompt(b"300", "scripted/1")
    source = SpeechSource()
    ended = asyncio.Event()
    Producer(
        lambda: stream_speech(ScriptedBackend(), sentences, prompt, language="English"), source
    ).start(on_end=ended.set)
    await ended.wait()
    mono = np.frombuffer(b"".join(iter(source.read, b"")), "<i2")[::2]
    sounding = np.flatnonzero(np.abs(mono) > 1_000) / 48_000
    assert sounding[0] == pytest.approx(1.0, abs=0.05)
    assert pauses(mono.tobytes(), 48_000) == pytest.approx([2.0], abs=0.05)
    assert len(mono) / 48_000 - sounding[-1] == pytest.approx(1.5, abs=0.05)
