"""The engine speaks with no voice whose prompt holds no consent record."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from backend.contract import ConsentMissingError, ConsentRecord, SpeechRequest, VoicePrompt
from backend.voice_prompt import MAX_CODEC_FRAMES, ClonedVoice, write_voice_prompt
from tests.backend.conftest import load
from tests.support.prompts import without_consent

if TYPE_CHECKING:
    from pathlib import Path

    from backend.engine.engine import Engine
    from backend.voice_prompt import PromptModel

words = st.text("abc é中", min_size=1, max_size=60).filter(lambda text: bool(text.strip()))
consents = st.builds(
    ConsentRecord,
    st.integers(0, 2**63 - 1),
    st.datetimes(timezones=st.just(UTC)),
    st.text(max_size=40).map(str.strip).filter(lambda said: any(map(str.isalnum, said))),
)


@st.composite
def voices(draw: st.DrawFn, model: PromptModel, consent: ConsentRecord | None) -> ClonedVoice:
    """Any voice of a model, with or without a transcript."""
    finite = st.floats(-4, 4, width=32)
    embedding = draw(arrays(np.float32, model.dimension, elements=finite, fill=finite))
    if draw(st.booleans()):
        return ClonedVoice(embedding, consent=consent)
    shape = st.tuples(st.integers(1, MAX_CODEC_FRAMES), st.just(model.code_groups))
    codes = st.integers(0, model.codebook_size - 1)
    return ClonedVoice(
        embedding, draw(arrays(np.int16, shape, elements=codes, fill=codes)), draw(words), consent
    )


@pytest.fixture(scope="module")
def lenient_engine(checkpoint: Path) -> Engine:
    return load(checkpoint, require_consent=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data(), words, st.none() | consents)
def test_whatever_a_voice_is_it_is_spoken_with_only_with_consent(
    engine: Engine,
    lenient_engine: Engine,
    data: st.DataObject,
    text: str,
    consent: ConsentRecord | None,
) -> None:
    voice = data.draw(voices(engine.prompt_model, consent))
    prompt = VoicePrompt(write_voice_prompt(voice, engine.prompt_model), engine.info().model_id)
    request = SpeechRequest(text, prompt)
    assert lenient_engine.read(request).voice.consent == consent
    if consent is not None:
        assert engine.read(request).voice.consent == consent
        request = replace(request, prompt=replace(prompt, data=without_consent(prompt.data)))
    with pytest.raises(ConsentMissingError):
        engine.read(request)


@pytest.mark.parametrize("plain_package", [False, True])
def test_neither_loop_takes_a_request_without_it(
    checkpoint: Path, prompt: VoicePrompt, plain_package: bool
) -> None:
    loop = load(checkpoint, plain_package=plain_package).open(1)
    stripped = replace(prompt, data=without_consent(prompt.data))
    with pytest.raises(ConsentMissingError):
        loop.add(SpeechRequest("Nobody agreed to this.", stripped))
    assert loop.rows == 0
    loop.add(SpeechRequest("Somebody agreed to this.", prompt))
