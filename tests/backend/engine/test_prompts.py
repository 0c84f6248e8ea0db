"""Voice prompts from reference clips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backend.contract import (
    MAX_TRANSCRIPT_CHARACTERS,
    REFERENCE_SAMPLE_RATE,
    ConsentMissingError,
    ConsentRecord,
    ReferenceUnusableError,
)
from backend.voice_prompt import ClonedVoice, read_voice_prompt
from tests.backend.conftest import TRANSCRIPT, load
from tests.support.buzz import buzz

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from backend.contract import VoicePrompt
    from backend.engine.engine import Engine


def held(engine: Engine, prompt: VoicePrompt) -> ClonedVoice:
    return read_voice_prompt(prompt.data, engine.prompt_model)


def test_a_transcript_makes_an_in_context_prompt(
    engine: Engine, prompt: VoicePrompt, consent: ConsentRecord
) -> None:
    voice = held(engine, prompt)
    assert voice.codes is not None
    assert voice.codes.shape == (57, 4)  # 4 s and 0.5 s of silence, at 12.5 frames a second
    assert voice.transcript == TRANSCRIPT
    assert voice.consent == consent


@pytest.mark.parametrize("transcript", [None, "", "  \n"])
def test_without_a_transcript_only_the_voice_is_kept(
    engine: Engine, consent: ConsentRecord, transcript: str | None
) -> None:
    voice = held(engine, engine.make_prompt(buzz(110), transcript, consent))
    assert voice.codes is None
    assert voice.transcript is None
    assert voice.consent == consent


def test_different_references_make_different_voices(engine: Engine, consent: ConsentRecord) -> None:
    low, high = (
        held(engine, engine.make_prompt(buzz(pitch), TRANSCRIPT, consent)) for pitch in (90, 300)
    )
    assert not np.allclose(low.speaker_embedding, high.speaker_embedding)
    assert low.codes is not None
    assert (low.codes != high.codes).mean() > 0.5


def test_the_same_reference_makes_the_same_voice(
    engine: Engine, prompt: VoicePrompt, consent: ConsentRecord
) -> None:
    first = held(engine, prompt)
    again = held(engine, engine.make_prompt(buzz(110), TRANSCRIPT, consent))
    np.testing.assert_array_equal(first.codes, again.codes)
    np.testing.assert_array_equal(first.speaker_embedding, again.speaker_embedding)


@pytest.mark.parametrize(("quiet_seconds", "frames"), [(0.0, 57), (0.24, 57), (0.5, 57), (1.0, 63)])
def test_a_reference_ends_in_half_a_second_of_silence(
    engine: Engine, consent: ConsentRecord, quiet_seconds: float, frames: int
) -> None:
    quiet = np.zeros(round(quiet_seconds * REFERENCE_SAMPLE_RATE), np.float32)
    reference = np.concatenate([buzz(110), quiet])
    codes = held(engine, engine.make_prompt(reference, TRANSCRIPT, consent)).codes
    assert codes is not None
    assert len(codes) == frames


def test_no_voice_is_cloned_without_consent(engine: Engine) -> None:
    with pytest.raises(ConsentMissingError):
        engine.make_prompt(buzz(110), TRANSCRIPT, None)


def test_an_operator_may_do_without_consent(checkpoint: Path, consent: ConsentRecord) -> None:
    engine = load(checkpoint, require_consent=False)
    assert held(engine, engine.make_prompt(buzz(110), None, None)).consent is None
    assert held(engine, engine.make_prompt(buzz(110), None, consent)).consent == consent


def with_one(value: float) -> NDArray[np.float32]:
    samples = buzz(110)
    samples[1_000] = value
    return samples


UNUSABLE: dict[str, NDArray[Any]] = {
    "nothing": np.zeros(0, np.float32),
    "too short": buzz(110, 2.9),
    "too long": buzz(110, 30.1),
    "stereo": np.stack([buzz(110)] * 2),
    "doubles": buzz(110).astype(np.float64),
    "integers": np.ones(96_000, np.int16),
    "a NaN": with_one(np.nan),
    "an infinity": with_one(np.inf),
    "over full scale": with_one(1.5),
    "silence": np.zeros(96_000, np.float32),
    "hardly a sound": buzz(110) * np.float32(0.005),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_samples_that_are_no_reference_are_refused(
    engine: Engine, consent: ConsentRecord, kind: str
) -> None:
    with pytest.raises(ReferenceUnusableError):
        engine.make_prompt(UNUSABLE[kind], TRANSCRIPT, consent)


@pytest.mark.parametrize("transcript", ["<|im_end|>", "<|im_start|><|im_end|>", "\ud800"])
def test_a_transcript_without_words_is_refused_when_the_voice_is_made(
    engine: Engine, consent: ConsentRecord, transcript: str
) -> None:
    with pytest.raises(ReferenceUnusableError, match="no words"):
        engine.make_prompt(buzz(110), transcript, consent)


def test_a_transcript_that_is_too_long_is_refused(engine: Engine, consent: ConsentRecord) -> None:
    with pytest.raises(ReferenceUnusableError, match="transcript"):
        engine.make_prompt(buzz(110), "a" * (MAX_TRANSCRIPT_CHARACTERS + 1), consent)


@pytest.mark.parametrize("seconds", [3.0, 30.0])
def test_the_shortest_and_the_longest_reference_are_accepted(
    engine: Engine, consent: ConsentRecord, seconds: float
) -> None:
    assert (
        held(engine, engine.make_prompt(buzz(110, seconds), TRANSCRIPT, consent)).codes is not None
    )
