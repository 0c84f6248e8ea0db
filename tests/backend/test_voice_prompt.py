from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import save

from backend.contract import (
    MAX_TRANSCRIPT_CHARACTERS,
    ConsentRecord,
    SpeechError,
    VoicePromptInvalidError,
    VoicePromptModelMismatchError,
)
from backend.voice_prompt import (
    MAX_CODEC_FRAMES,
    MAX_PROMPT_BYTES,
    ClonedVoice,
    PromptModel,
    read_voice_prompt,
    write_voice_prompt,
)

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL = PromptModel("some/model", "abc123", dimension=8, code_groups=4, codebook_size=100)
CONSENT = ConsentRecord(77, datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC), "2026-03")
IN_CONTEXT = ClonedVoice(
    np.linspace(-1, 1, 8, dtype=np.float32),
    np.arange(20, dtype=np.int16).reshape(5, 4),
    "what is said",
    CONSENT,
)
X_VECTOR = ClonedVoice(np.ones(8, np.float32), consent=CONSENT)
GOOD = write_voice_prompt(IN_CONTEXT, MODEL)

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
statements = st.text(max_size=40).map(str.strip).filter(lambda said: any(map(str.isalnum, said)))
consents = st.builds(
    ConsentRecord, st.integers(0, 2**63 - 1), st.datetimes(timezones=st.just(UTC)), statements
)
x_vector_voices = st.builds(
    ClonedVoice, arrays(np.float32, 8, elements=finite), consent=st.none() | consents
)
in_context_voices = st.builds(
    ClonedVoice,
    arrays(np.float32, 8, elements=finite),
    arrays(
        np.int16,
        st.tuples(st.integers(1, MAX_CODEC_FRAMES), st.just(4)),
        elements=st.integers(0, 99),
        fill=st.just(7),
    ),
    st.text(min_size=1, max_size=200).filter(lambda text: bool(text.strip())),
    st.none() | consents,
)


@given(x_vector_voices | in_context_voices)
def test_a_prompt_reads_as_it_was_written(voice: ClonedVoice) -> None:
    data = write_voice_prompt(voice, MODEL)
    read = read_voice_prompt(data, MODEL)
    np.testing.assert_array_equal(read.speaker_embedding, voice.speaker_embedding)
    np.testing.assert_array_equal(
        np.zeros(0) if read.codes is None else read.codes,
        np.zeros(0) if voice.codes is None else voice.codes,
    )
    assert (read.transcript, read.consent) == (voice.transcript, voice.consent)


def test_a_transposed_view_is_written_in_its_own_order() -> None:
    codes = np.arange(20, dtype=np.int16).reshape(4, 5).T
    read = read_voice_prompt(write_voice_prompt(replace(IN_CONTEXT, codes=codes), MODEL), MODEL)
    np.testing.assert_array_equal(read.codes, codes)


def test_the_largest_prompt_fits() -> None:
    model = PromptModel("m" * 100, "r" * 40, dimension=2048, code_groups=16, codebook_size=2048)
    voice = ClonedVoice(
        np.ones(2048, np.float32),
        np.full((MAX_CODEC_FRAMES, 16), 2047, np.int16),
        "\U0001f600" * MAX_TRANSCRIPT_CHARACTERS,
        CONSENT,
    )
    data = write_voice_prompt(voice, model)
    assert len(data) < MAX_PROMPT_BYTES / 2
    assert read_voice_prompt(data, model).transcript == voice.transcript


def test_a_ten_second_prompt_is_small() -> None:
    model = PromptModel("Qwen/Qwen3-TTS-12Hz-0.6B-Base", None, 1024, 16, 2048)
    voice = ClonedVoice(np.ones(1024, np.float32), np.zeros((131, 16), np.int16), "words", CONSENT)
    assert len(write_voice_prompt(voice, model)) < 10_000


@pytest.mark.parametrize(
    "needed",
    [
        replace(MODEL, model_id="another/model"),
        replace(MODEL, revision="def456"),
        replace(MODEL, revision=None),
        replace(MODEL, dimension=16),
    ],
)
def test_a_prompt_of_another_model_is_told_apart(needed: PromptModel) -> None:
    with pytest.raises(VoicePromptModelMismatchError, match="some/model") as caught:
        read_voice_prompt(GOOD, needed)
    assert caught.value.needed == needed.model_id


def remade(
    tensors: dict[str, Any] | None = None, metadata: dict[str, str | None] | None = None
) -> bytes:
    """The good prompt with some parts replaced, or left out where None."""
    header = json.loads(GOOD[8 : 8 + int.from_bytes(GOOD[:8], "little")])
    parts: dict[str, Any] = {
        "speaker_embedding": IN_CONTEXT.speaker_embedding,
        "codes": IN_CONTEXT.codes,
        **(tensors or {}),
    }
    said = {**header["__metadata__"], **(metadata or {})}
    return save(
        {name: part for name, part in parts.items() if part is not None},
        {name: value for name, value in said.items() if value is not None},
    )


def with_one(value: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array([value, *[0] * 7], np.float32)


DAMAGED: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "a pickle": lambda: b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07builtins\x94.",
    "a header longer than the file": lambda: (2**40).to_bytes(8, "little") + b"{}",
    "cut short": lambda: GOOD[:-1],
    "something behind it": lambda: GOOD + b"\0",
    "too large": lambda: GOOD + bytes(MAX_PROMPT_BYTES),
    "no metadata": lambda: save({"speaker_embedding": np.ones(8, np.float32)}),
    "another format": lambda: remade(metadata={"format_version": "2"}),
    "no format": lambda: remade(metadata={"format_version": None}),
    "an unknown mode": lambda: remade(metadata={"mode": "magic"}),
    "codes in x-vector mode": lambda: remade(metadata={"mode": "x-vector"}),
    "no codes in context": lambda: remade({"codes": None}),
    "an extra tensor": lambda: remade({"more": np.ones(1, np.float32)}),
    "no speaker": lambda: remade({"speaker_embedding": None}),
    "a speaker in doubles": lambda: remade({"speaker_embedding": np.ones(8)}),
    "a short speaker": lambda: remade({"speaker_embedding": np.ones(7, np.float32)}),
    "a flat speaker": lambda: remade({"speaker_embedding": np.ones((1, 8), np.float32)}),
    "a NaN": lambda: remade({"speaker_embedding": with_one(np.nan)}),
    "an infinity": lambda: remade({"speaker_embedding": with_one(-np.inf)}),
    "codes as int64": lambda: remade({"codes": np.zeros((5, 4), np.int64)}),
    "codes of other groups": lambda: remade({"codes": np.zeros((5, 3), np.int16)}),
    "flat codes": lambda: remade({"codes": np.zeros(20, np.int16)}),
    "a scalar for codes": lambda: remade({"codes": np.zeros((), np.int16)}),
    "no frames": lambda: remade({"codes": np.zeros((0, 4), np.int16)}),
    "too many frames": lambda: remade({"codes": np.zeros((MAX_CODEC_FRAMES + 1, 4), np.int16)}),
    "a code too high": lambda: remade({"codes": np.full((5, 4), 100, np.int16)}),
    "a code too low": lambda: remade({"codes": np.full((5, 4), -1, np.int16)}),
    "no transcript": lambda: remade(metadata={"transcript": None}),
    "a blank transcript": lambda: remade(metadata={"transcript": " \n"}),
    "a long transcript": lambda: remade(
        metadata={"transcript": "a" * (MAX_TRANSCRIPT_CHARACTERS + 1)}
    ),
    "consent by nobody": lambda: remade(metadata={"consent_attested_by": "me"}),
    "consent at no time": lambda: remade(metadata={"consent_attested_at": "yesterday"}),
    "consent by somebody impossible": lambda: remade(metadata={"consent_attested_by": "-1"}),
    "consent to a blank": lambda: remade(metadata={"consent_statement_version": " "}),
    "consent to nothing": lambda: remade(metadata={"consent_statement_version": None}),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_prompt_is_refused(kind: str) -> None:
    with pytest.raises(VoicePromptInvalidError):
        read_voice_prompt(DAMAGED[kind](), MODEL)


@given(st.binary(max_size=400))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(VoicePromptInvalidError):
        read_voice_prompt(data, MODEL)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["__metadata__", "codes", "speaker_embedding"]), json_values),
    st.binary(max_size=64),
)
def test_any_header_is_refused(header: dict[str, Any], body: bytes) -> None:
    text = json.dumps(header).encode()
    with pytest.raises(VoicePromptInvalidError):
        read_voice_prompt(len(text).to_bytes(8, "little") + text + body, MODEL)


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_does_no_harm(place: int, change: int) -> None:
    data = bytearray(GOOD)
    data[place] ^= change
    try:
        voice = read_voice_prompt(bytes(data), MODEL)
    except SpeechError:
        return
    assert voice.speaker_embedding.shape == (8,)
    assert np.isfinite(voice.speaker_embedding).all()
    assert voice.codes is not None
    assert 0 <= voice.codes.min() <= voice.codes.max() < MODEL.codebook_size


def test_huge_numbers_in_the_header_are_refused() -> None:
    text = b'{"__metadata__":{"format_version":"1"},"a":{"dtype":"I16","shape":[%s],' % (
        b"9" * 5000
    )
    text += b'"data_offsets":[0,0]}}'
    with pytest.raises(VoicePromptInvalidError):
        read_voice_prompt(len(text).to_bytes(8, "little") + text, MODEL)
