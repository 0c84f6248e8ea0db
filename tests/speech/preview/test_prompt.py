from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract import (
    ConsentMissingError,
    ConsentRecord,
    VoicePrompt,
    VoicePromptInvalidError,
    VoicePromptModelMismatchError,
)
from bot.speech.preview.prompt import (
    MAX_PITCH,
    MAX_TRACT_RATIO,
    MIN_PITCH,
    MIN_TRACT_RATIO,
    MODEL_ID,
    SPECTRUM_BANDS,
    VoiceTarget,
    read_prompt,
    write_prompt,
)

CONSENT = ConsentRecord(2**63 + 5, datetime(2026, 11, 1, 12, 30, tzinfo=UTC), "2026-11")
TARGET = VoiceTarget(
    pitch=180.0,
    pitch_spread=0.2,
    tract_ratio=1.1,
    spectrum=tuple(0.1 * band - 3 for band in range(SPECTRUM_BANDS)),
)
PROMPT = write_prompt(TARGET, CONSENT)

targets = st.builds(
    VoiceTarget,
    pitch=st.floats(MIN_PITCH, MAX_PITCH),
    pitch_spread=st.floats(0, 2),
    tract_ratio=st.floats(MIN_TRACT_RATIO, MAX_TRACT_RATIO),
    spectrum=st.lists(st.floats(-20, 20), min_size=SPECTRUM_BANDS, max_size=SPECTRUM_BANDS).map(
        tuple
    ),
)


@given(targets)
def test_a_prompt_says_what_was_written(target: VoiceTarget) -> None:
    assert read_prompt(write_prompt(target, CONSENT)) == target


def test_a_prompt_carries_its_consent() -> None:
    consent = json.loads(PROMPT.data)["consent"]

    assert consent["attested_by"] == CONSENT.attested_by
    assert datetime.fromisoformat(consent["attested_at"]) == CONSENT.attested_at
    assert consent["statement_version"] == CONSENT.statement_version


@pytest.mark.parametrize(
    "consent",
    [
        None,
        {"attested_by": 1},
        replace(CONSENT, attested_by=-1),
        replace(CONSENT, attested_by="me"),  # type: ignore[arg-type]
        replace(CONSENT, attested_at=datetime(2026, 11, 1)),  # noqa: DTZ001 - the point
        replace(CONSENT, statement_version=""),
        replace(CONSENT, statement_version=" \u200b"),
    ],
)
def test_no_prompt_without_a_whole_consent_record(consent: ConsentRecord) -> None:
    with pytest.raises(ConsentMissingError):
        write_prompt(TARGET, consent)


def test_a_prompt_without_a_consent_record_is_not_spoken_with() -> None:
    document = json.loads(PROMPT.data)
    del document["consent"]
    with pytest.raises(ConsentMissingError):
        read_prompt(VoicePrompt(json.dumps(document).encode(), MODEL_ID))


def test_a_prompt_of_another_model_names_both() -> None:
    with pytest.raises(VoicePromptModelMismatchError) as refusal:
        read_prompt(VoicePrompt(PROMPT.data, "qwen3-tts-1.7b"))

    assert (refusal.value.made_for, refusal.value.needed) == ("qwen3-tts-1.7b", MODEL_ID)


def read_damaged(data: bytes) -> None:
    """A damaged prompt is refused, or still is one that can be spoken with."""
    try:
        target = read_prompt(VoicePrompt(data, MODEL_ID))
    except VoicePromptInvalidError:
        return
    assert MIN_PITCH <= target.pitch <= MAX_PITCH
    assert MIN_TRACT_RATIO <= target.tract_ratio <= MAX_TRACT_RATIO
    assert len(target.spectrum) == SPECTRUM_BANDS


@given(st.integers(0, 8 * len(PROMPT.data) - 1))
def test_a_flipped_bit_is_harmless(bit: int) -> None:
    data = bytearray(PROMPT.data)
    data[bit // 8] ^= 1 << bit % 8
    read_damaged(bytes(data))


@given(st.integers(0, len(PROMPT.data) - 1))
def test_a_truncated_prompt_is_refused(length: int) -> None:
    with pytest.raises(VoicePromptInvalidError):
        read_prompt(VoicePrompt(PROMPT.data[:length], MODEL_ID))


@given(st.binary(max_size=2_000))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(VoicePromptInvalidError):
        read_prompt(VoicePrompt(data, MODEL_ID))


@pytest.mark.parametrize(
    "data",
    [
        PROMPT.data + b" " * 10_000,
        PROMPT.data.replace(b'"pitch":180.0', b'"pitch":1e999'),
        PROMPT.data.replace(b'"pitch":180.0', b'"pitch":NaN'),
        PROMPT.data.replace(b'"pitch":180.0', b'"pitch":20.0'),
        PROMPT.data.replace(b'"pitch":180.0', b'"pitch":"180"'),
        PROMPT.data.replace(b'"pitch":180.0', b'"pitch":180.0,"more":1'),
        PROMPT.data.replace(b'"version":1', b'"version":2'),
        PROMPT.data.replace(b'"spectrum":[', b'"spectrum":[0.0,'),
        b"[" * 8_000,
    ],
)
def test_a_forged_prompt_is_refused(data: bytes) -> None:
    with pytest.raises(VoicePromptInvalidError) as refusal:
        read_prompt(VoicePrompt(data, MODEL_ID))

    assert refusal.value.__cause__ is None  # nothing of the bytes goes into a log
