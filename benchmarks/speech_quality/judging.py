"""Listens to speech: Whisper for words, a speaker encoder for the voice, Silero for pauses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ctranslate2  # type: ignore[import-untyped]
import numpy as np

from backend.contract import MAX_REFERENCE_SECONDS, REFERENCE_SAMPLE_RATE
from backend.reference.transcriber import Transcriber
from benchmarks.speech_quality.errors import CannotMeasureError
from benchmarks.speech_quality.speaker_encoder import SpeakerEncoder
from benchmarks.speech_quality.verdicts import Verdict, Voice
from benchmarks.speech_quality.words import (
    count_syllables,
    count_word_errors,
    echoes,
    split_words,
)
from bot.audio.speech_activity import WINDOW_SECONDS, SpeechDetector, in_windows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.speech_quality.speaking import Line, Speech

_HEARD = round(MAX_REFERENCE_SECONDS * REFERENCE_SAMPLE_RATE)

RUNAWAY_TIMES = 2.0
RUNAWAY_SECONDS = 2.0
"""Speech is a runaway if it is longer than twice what is expected, and 2 s more."""


class Judge:
    """Listens with the same models to everything. For one thread.

    Args:
        whisper: A Whisper model converted for CTranslate2: its folder, or its name.

    Raises `BackendUnavailableError` if a model is missing.
    """

    def __init__(self, whisper: str) -> None:
        self._transcriber = Transcriber(whisper, device="cpu")
        self._encoder = SpeakerEncoder()
        self._detector = SpeechDetector()

    def hear(self, samples: NDArray[np.float32]) -> str:
        """Write down the first 30 s of a recording. The same samples always give the same words."""
        ctranslate2.set_random_seed(0)  # Whisper's second attempt draws at random
        heard = self._transcriber.transcribe(samples[:_HEARD], REFERENCE_SAMPLE_RATE)
        return heard.text

    def describe(self, key: str, clip: NDArray[np.float32], transcript: str | None) -> Voice:
        """Measure a reference clip.

        Args:
            key: The recording's key.
            clip: `(n,)`, mono at `REFERENCE_SAMPLE_RATE`.
            transcript: What is said in it, if somebody wrote it down.

        Raises `CannotMeasureError` if nobody speaks in it.
        """
        heard = self.hear(clip)
        words = heard if transcript is None else transcript
        speech = self._detector.find_speech(clip)
        spoken = in_windows(clip)[speech].reshape(-1)
        syllables = count_syllables(words)
        if not len(spoken) or not syllables:
            raise CannotMeasureError(f"{key}: nobody speaks in it")
        first, last = np.flatnonzero(speech)[[0, -1]]
        half = len(spoken) // 2
        return Voice(
            key,
            transcript=words,
            rate=syllables / (len(spoken) / REFERENCE_SAMPLE_RATE),
            pace=syllables / (int(last - first + 1) * WINDOW_SECONDS),
            embedding=self._encoder.embed(spoken),
            halves=float(self._encoder.embed(spoken[:half]) @ self._encoder.embed(spoken[half:])),
            words=len(split_words(words)),
            word_errors=None if transcript is None else count_word_errors(transcript, heard),
        )

    def judge(self, line: Line, speech: Speech, voice: Voice) -> Verdict:
        """Compare a speech with what it should say, and with the voice that it should have."""
        samples = speech.samples
        expected = count_syllables(line.sentence) / voice.pace
        seconds = len(samples) / REFERENCE_SAMPLE_RATE
        is_long = seconds > RUNAWAY_TIMES * expected + RUNAWAY_SECONDS
        active = self._detector.find_speech(samples) if len(samples) else np.zeros(0, np.bool_)
        spoken = in_windows(samples)[active].reshape(-1)
        problem = speech.problem or (None if len(spoken) else "nobody speaks in it")
        if problem is not None:
            return Verdict(
                line.voice, line.sentence, line.take, problem, runaway=speech.ran_on or is_long
            )
        heard = self.hear(samples)
        rate = count_syllables(line.sentence) / (len(spoken) / REFERENCE_SAMPLE_RATE)
        return Verdict(
            line.voice,
            line.sentence,
            line.take,
            heard=heard,
            words=len(split_words(line.sentence)),
            word_errors=count_word_errors(line.sentence, heard),
            similarity=float(self._encoder.embed(spoken) @ voice.embedding),
            rate=rate / voice.rate,
            seconds=seconds,
            expected=expected,
            runaway=speech.ran_on or is_long,
            echo=echoes(line.sentence, heard, voice.transcript),
        )
