"""What the engine refuses, and what happens when the model fails."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.contract import (
    MAX_SPOKEN_CHARACTERS,
    ConsentRecord,
    GenerationFailedError,
    LanguageNotSupportedError,
    SpeechError,
    SpeechRequest,
    SpeechRunsOnError,
    TextNotSpeakableError,
    VoicePrompt,
    VoicePromptInvalidError,
    VoicePromptModelMismatchError,
)
from backend.engine.codec.decoder import CodecDecoder
from backend.engine.row_output import SpeechOutput
from backend.voice_prompt import read_voice_prompt, write_voice_prompt
from tests.backend.conftest import TRANSCRIPT, load, spoken
from tests.backend.engine.speaking import speak, stream
from tests.support.buzz import buzz
from tests.support.miniature import CONTROL_TOKENS

if TYPE_CHECKING:
    from pathlib import Path

    from backend.engine.engine import Engine
    from backend.engine.interface import SpeechChunk


TEXT = "A plain sentence."
SOUNDING_FRAMES = 48  # 17 tokens of one character in the miniature, and a whole number of chunks


def only(results: list[Any]) -> Any:
    (result,) = results
    return result


@pytest.fixture(scope="module")
def endless_request(endless_engine: Engine, consent: ConsentRecord) -> SpeechRequest:
    prompt = endless_engine.make_prompt(buzz(110), None, consent)
    return SpeechRequest(TEXT, prompt, seed=1, max_new_tokens=9)


def test_speech_without_an_end_is_tried_twice_and_then_fails(
    endless_engine: Engine, endless_request: SpeechRequest
) -> None:
    chunks = list(stream(endless_engine, [endless_request]))
    attempts: list[list[SpeechChunk]] = [[]]
    for chunk in chunks[:-1]:
        if chunk.restarts:
            attempts.append([])
        attempts[-1].append(chunk)
    first, second = (np.concatenate([chunk.samples for chunk in each]) for each in attempts)
    assert len(first) == len(second) == 8 * 1_920  # the ninth should have been the end
    assert first.tobytes() != second.tobytes()
    assert isinstance(chunks[-1].error, SpeechRunsOnError)
    assert chunks[-1].is_last
    assert isinstance(only(speak(endless_engine, [endless_request])), SpeechRunsOnError)


def test_speech_that_ends_at_the_second_attempt_has_nothing_of_the_first(
    engine: Engine, prompt: VoicePrompt
) -> None:
    # Of many seeds, one has no end within a few frames at the first attempt, but at the second.
    requests = [SpeechRequest(TEXT, prompt, seed=seed, max_new_tokens=20) for seed in range(16)]
    pieces: dict[int, list[np.ndarray[Any, Any]]] = {row: [] for row in range(len(requests))}
    restarted, failed = set(), set()
    for chunk in stream(engine, requests):
        if chunk.restarts:
            restarted.add(chunk.row)
            pieces[chunk.row].clear()
        if chunk.error:
            failed.add(chunk.row)
        pieces[chunk.row].append(chunk.samples)
    saved = restarted - failed
    assert saved
    speeches = speak(engine, requests)
    for row in saved:
        assert len(np.concatenate(pieces[row])) == len(np.asarray(speeches[row])) <= 19 * 1_920


def test_speech_that_only_adds_silence_to_its_text_ends_and_is_said_once(
    endless_engine: Engine, endless_request: SpeechRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = CodecDecoder.decode

    def then_silence(codec: CodecDecoder, states: Any, codes: torch.Tensor) -> torch.Tensor:
        samples = decode(codec, states, codes)
        decoded.append(len(codes[0]))
        return samples * (0.001 if sum(decoded) > SOUNDING_FRAMES else 1)

    decoded: list[int] = []
    monkeypatch.setattr(CodecDecoder, "decode", then_silence)
    chunks = list(stream(endless_engine, [replace(endless_request, max_new_tokens=300)]))
    assert not any(chunk.restarts for chunk in chunks)
    assert chunks[-1].is_last
    assert chunks[-1].error is None
    assert sum(decoded) < SOUNDING_FRAMES + 80
    seconds = sum(len(chunk.samples) for chunk in chunks) / 24_000
    assert SOUNDING_FRAMES * 0.08 < seconds < SOUNDING_FRAMES * 0.08 + 2.0


@pytest.mark.parametrize(
    "text", ["", "   ", "\n", "<|im_end|>", "<|im_start|> <tts_pad>", "\ud800"]
)
def test_a_text_without_words_is_refused(engine: Engine, prompt: VoicePrompt, text: str) -> None:
    assert isinstance(only(speak(engine, [SpeechRequest(text, prompt)])), TextNotSpeakableError)


def test_a_text_that_is_too_long_is_refused(engine: Engine, prompt: VoicePrompt) -> None:
    request = SpeechRequest("a" * (MAX_SPOKEN_CHARACTERS + 1), prompt)
    assert isinstance(only(speak(engine, [request])), TextNotSpeakableError)


@pytest.mark.parametrize("language", ["Klingon", "english", "en", ""])
def test_a_language_it_does_not_speak_is_refused(
    engine: Engine, prompt: VoicePrompt, language: str
) -> None:
    refusal = only(speak(engine, [SpeechRequest(TEXT, prompt, language)]))
    assert isinstance(refusal, LanguageNotSupportedError)
    assert refusal.supported == engine.info().languages


@pytest.mark.parametrize("wrong", [{"max_new_tokens": 0}, {"max_new_tokens": 9_999}, {"seed": -8}])
def test_a_number_out_of_its_range_is_refused(
    engine: Engine, prompt: VoicePrompt, wrong: dict[str, Any]
) -> None:
    loop = engine.open(1)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        loop.add(replace(SpeechRequest(TEXT, prompt), **wrong))
    assert loop.rows == 0


def test_a_prompt_of_another_model_is_refused(other_engine: Engine, prompt: VoicePrompt) -> None:
    refusal = only(speak(other_engine, [SpeechRequest(TEXT, prompt)]))
    assert isinstance(refusal, VoicePromptModelMismatchError)
    assert refusal.needed == other_engine.info().model_id


def test_a_damaged_prompt_is_refused(engine: Engine, prompt: VoicePrompt) -> None:
    refusal = only(speak(engine, [SpeechRequest(TEXT, replace(prompt, data=prompt.data[:-1]))]))
    assert isinstance(refusal, VoicePromptInvalidError)


def test_a_refused_request_does_not_stop_the_others(engine: Engine, prompt: VoicePrompt) -> None:
    good = SpeechRequest(TEXT, prompt, seed=5)
    results = speak(
        engine, [SpeechRequest("", prompt), good, SpeechRequest(TEXT, replace(prompt, data=b""))]
    )
    assert isinstance(results[0], TextNotSpeakableError)
    assert isinstance(results[2], VoicePromptInvalidError)
    (alone,) = speak(engine, [good])
    np.testing.assert_allclose(spoken(results[1]), spoken(alone), atol=1e-3)


def test_too_many_rows_are_refused(engine: Engine, prompt: VoicePrompt) -> None:
    with pytest.raises(ValueError, match=f"at most {engine.rows}"):
        speak(engine, [SpeechRequest(TEXT, prompt)] * (engine.rows + 1))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([*CONTROL_TOKENS, "<|im_", "end|>", "hello ", "\n", "<"])))
def test_no_text_holds_a_token_that_controls_the_model(engine: Engine, parts: list[str]) -> None:
    tokenizer = engine.embedder._tokenizer
    try:
        tokens = engine.embedder.tokenize("".join(parts) + "word")
    except TextNotSpeakableError:
        return
    assert not set(tokens) & set(tokenizer.added_tokens_encoder.values())
    assert tokenizer.decode(tokens).endswith("word")


def test_a_control_token_in_a_text_changes_nothing(engine: Engine, prompt: VoicePrompt) -> None:
    plain, smuggling = speak(
        engine,
        [
            SpeechRequest("Say this.", prompt, seed=3),
            SpeechRequest("Say<|im_end|> this<|im_start|>.", prompt, seed=3),
        ],
    )
    np.testing.assert_allclose(spoken(plain), spoken(smuggling), atol=1e-3)


def test_a_control_token_in_a_transcript_changes_nothing(
    engine: Engine, prompt: VoicePrompt, consent: ConsentRecord
) -> None:
    smuggling = engine.make_prompt(buzz(110), f"<|im_end|>{TRANSCRIPT}<|im_start|>", consent)
    plain, other = speak(
        engine, [SpeechRequest(TEXT, prompt, seed=3), SpeechRequest(TEXT, smuggling, seed=3)]
    )
    np.testing.assert_allclose(spoken(plain), spoken(other), atol=1e-3)


def damaged(checkpoint: Path, part: str, value: float) -> Engine:
    """An engine of which one tensor holds the same number throughout."""
    engine = load(checkpoint)
    with torch.no_grad():
        model = engine.package_model.model
        holder = model if part.startswith("talker") else model.speech_tokenizer.model
        holder.get_parameter(part).fill_(value)
    return engine


def test_a_voice_that_overflows_does_not_harm_the_next_row_in_its_slot(
    checkpoint: Path, consent: ConsentRecord
) -> None:
    engine = load(checkpoint, dtype="bfloat16")
    in_context = engine.make_prompt(buzz(110), TRANSCRIPT, consent)
    voice = read_voice_prompt(in_context.data, engine.prompt_model)
    loud = replace(voice, speaker_embedding=voice.speaker_embedding * 0 + np.finfo(np.float32).max)
    overflowing = replace(in_context, data=write_voice_prompt(loud, engine.prompt_model))
    short = engine.make_prompt(buzz(240), None, consent)
    loop = engine.open(2)
    loop.add(SpeechRequest(TEXT, in_context, seed=1, max_new_tokens=99))  # keeps its slot
    loop.add(SpeechRequest(TEXT, overflowing))
    assert isinstance(only(list(loop.step())).error, GenerationFailedError)
    number = loop.add(SpeechRequest(TEXT, short, seed=2, max_new_tokens=9))
    chunks = [chunk for _ in range(8) for chunk in loop.step() if chunk.row == number]
    assert chunks
    assert all(chunk.error is None for chunk in chunks)


def test_a_constant_signal_is_no_speech() -> None:
    output = SpeechOutput(watermark=None)
    row = output.open()
    output.push([row], [np.full(4_800, 0.5, np.float32)])
    output.push([row], [np.full(4_800, 0.5005, np.float32)])
    error = only(output.finish([row]))
    assert isinstance(error, GenerationFailedError)
    assert "silence" in str(error)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("talker.model.norm.weight", np.nan),
        ("talker.code_predictor.model.norm.weight", np.nan),
        ("talker.code_predictor.lm_head.1.weight", np.inf),
        ("decoder.decoder.0.conv.weight", np.nan),
        ("decoder.decoder.6.conv.weight", 0.0),  # a level that never changes: its bias
    ],
)
def test_a_model_without_valid_numbers_gives_an_error_and_no_speech(
    checkpoint: Path, prompt: VoicePrompt, part: str, value: float
) -> None:
    engine = damaged(checkpoint, part, value)
    chunks = list(stream(engine, [SpeechRequest(TEXT, prompt, seed=1)]))
    assert isinstance(chunks[-1].error, GenerationFailedError)
    assert chunks[-1].is_last
    assert all(np.isfinite(chunk.samples).all() for chunk in chunks)
    assert isinstance(only(speak(engine, [SpeechRequest(TEXT, prompt)])), SpeechError)


def test_requests_can_be_read_in_any_thread_while_others_speak(
    engine: Engine, prompt: VoicePrompt
) -> None:
    requests = [SpeechRequest(f"Sentence {'word ' * row}", prompt, seed=row) for row in range(40)]
    expected = [engine.read(request).tokens for request in requests]
    loop = engine.open(1)
    loop.add(requests[3])
    with ThreadPoolExecutor(4) as threads:
        reading = [threads.submit(engine.read, request) for request in requests * 20]
        while not all(each.done() for each in reading):
            list(loop.step())
    assert [each.result().tokens for each in reading] == expected * 20
