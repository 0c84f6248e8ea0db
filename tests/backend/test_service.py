"""The service answers as its callers expect, and refuses before it works."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from backend.answers import MAX_TEXTS
from backend.contract import (
    MAX_SPOKEN_CHARACTERS,
    MAX_TRANSCRIPT_CHARACTERS,
    REFERENCE_SAMPLE_RATE,
    BackendUnavailableError,
    ConsentRecord,
    GenerationFailedError,
    LanguageNotSupportedError,
    ReferenceUnusableError,
    SpeechRequest,
    SpeechRunsOnError,
    TextNotSpeakableError,
    VoicePromptInvalidError,
    VoicePromptModelMismatchError,
)
from tests.backend.service_parts import (
    HIGH,
    LOW,
    SENTENCE,
    Outside,
    clip,
    clone,
    make_prompt,
    make_service,
    request,
    samples_of,
    speak,
)
from tests.support import recordings
from tests.support.buzz import buzz

if TYPE_CHECKING:
    from backend.contract import PcmChunk
    from backend.engine.engine import Engine
    from backend.service import SpeechService
    from backend.watermark.watermark import Watermarker

ROUNDING = 0.001
"""How far samples may be off because they were computed in a batch of another size."""


async def test_a_text_is_spoken_with_the_voice_of_a_clip(service: SpeechService) -> None:
    [low] = await clone(service)
    [high] = await clone(service, ref_audio=HIGH)
    assert samples_of(low).any()
    assert low != high


async def test_a_clip_may_come_as_base64_or_an_address(
    service: SpeechService, outside: Outside
) -> None:
    [from_bytes] = await clone(service)
    [from_base64] = await clone(service, ref_audio=base64.b64encode(LOW).decode())
    assert from_base64 == from_bytes
    await clone(service, ref_audio="https://clips.example/a.wav")
    assert outside.fetched == ["https://clips.example/a.wav"]


async def test_whatever_is_spoken_carries_the_mark(service: SpeechService) -> None:
    [speech] = await clone(service)
    answer = await service.detect_watermark(speech)
    assert answer["watermarked"]
    assert answer["seconds"] == pytest.approx(len(samples_of(speech)) / REFERENCE_SAMPLE_RATE)
    assert answer["speed"] == 1.0
    unmarked = recordings.as_file(recordings.speech(3.0), REFERENCE_SAMPLE_RATE, "wav")
    assert not (await service.detect_watermark(unmarked))["watermarked"]
    with pytest.raises(ReferenceUnusableError):
        await service.detect_watermark(b"no audio")


async def test_a_batch_is_spoken_with_one_voice(service: SpeechService) -> None:
    batch = await clone(service, SENTENCE, "Another one.", SENTENCE)
    assert batch[0] != batch[1]
    [alone] = await clone(service)
    for same in (batch[0], batch[2]):
        assert np.abs(samples_of(same) - samples_of(alone)).max() < ROUNDING


async def test_a_full_batch_is_spoken(service: SpeechService) -> None:
    spoken = await clone(service, *["Well."] * MAX_TEXTS)
    assert len(spoken) == MAX_TEXTS


async def test_a_kept_voice_speaks_as_when_it_was_made(service: SpeechService) -> None:
    prompt = await make_prompt(service, ref_text="The words of the reference.")
    [at_once] = await clone(service)
    assert await speak(service, prompt) == at_once
    assert await speak(service, prompt, seed=8) != at_once


async def test_speech_is_streamed_and_closing_the_stream_stops_the_work(
    service: SpeechService,
) -> None:
    prompt = await make_prompt(service)
    stream = service.stream(request(service, prompt))
    chunks: list[PcmChunk] = [await anext(stream)]
    assert service.health()["speaking"] == 1, "the first piece comes before the last is made"
    chunks += [chunk async for chunk in stream]
    whole = samples_of(await speak(service, prompt))
    pieces = np.frombuffer(b"".join(chunk.pcm for chunk in chunks), "<i2") / 32_768
    assert np.array_equal(pieces, whole)

    stopped = service.stream(request(service, prompt, text=SENTENCE * 9))
    await anext(stopped)
    await stopped.aclose()
    await _until(lambda: service.health()["speaking"] == 0)


async def test_speech_that_reaches_its_limit_is_no_speech(service: SpeechService) -> None:
    with pytest.raises(SpeechRunsOnError):
        await clone(service, max_new_tokens=4)


async def test_many_callers_each_get_their_own_voice(service: SpeechService) -> None:
    prompts = {pitch: await make_prompt(service, clip(pitch)) for pitch in (100, 200, 300)}
    alone = {pitch: await speak(service, prompt) for pitch, prompt in prompts.items()}
    pitches = [100, 200, 300] * 4
    together = await asyncio.gather(
        *(speak(service, prompts[pitch], caller=str(pitch)) for pitch in pitches)
    )
    for pitch, speech in zip(pitches, together, strict=True):
        expected, heard = samples_of(alone[pitch]), samples_of(speech)
        assert np.abs(heard - expected).max() < ROUNDING


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"texts": []}, TextNotSpeakableError),
        ({"texts": ["a"] * (MAX_TEXTS + 1)}, TextNotSpeakableError),
        ({"texts": [" \n"]}, TextNotSpeakableError),
        ({"texts": ["a" * (MAX_SPOKEN_CHARACTERS + 1)]}, TextNotSpeakableError),
        ({"texts": [None]}, TextNotSpeakableError),
        ({"texts": ["a", "b"]}, ValueError),
        ({"languages": ["Klingon"]}, LanguageNotSupportedError),
        ({"languages": ["en"]}, LanguageNotSupportedError),
        ({"languages": [""]}, LanguageNotSupportedError),
        ({"max_new_tokens": 0}, ValueError),
        ({"max_new_tokens": 2049}, ValueError),
        ({"seed": -1}, ValueError),
        ({"seed": 2**63}, ValueError),
        ({"ref_text": "a" * (MAX_TRANSCRIPT_CHARACTERS + 1)}, ReferenceUnusableError),
    ],
)
async def test_what_is_out_of_bounds_is_refused_before_any_work(
    service: SpeechService, outside: Outside, changes: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await clone(service, ref_audio="https://clips.example/a.wav", **changes)
    assert not outside.fetched


@pytest.mark.parametrize("prompt", [b"", b"no prompt", b"a" * 70_000, "text", None])
async def test_what_is_no_voice_prompt_is_refused(service: SpeechService, prompt: Any) -> None:
    with pytest.raises(VoicePromptInvalidError):
        await speak(service, prompt)


async def test_another_models_prompt_is_refused(
    service: SpeechService, other_engine: Engine, consent: ConsentRecord
) -> None:
    prompt = other_engine.make_prompt(buzz(110), None, consent)
    with pytest.raises(VoicePromptModelMismatchError):
        await speak(service, prompt.data)
    with pytest.raises(VoicePromptModelMismatchError):
        await service.speak(SpeechRequest(SENTENCE, prompt))


@pytest.mark.parametrize("language", ["english", "ENGLISH", "Auto", "auto"])
async def test_a_language_may_be_written_in_any_case(service: SpeechService, language: str) -> None:
    assert await clone(service, languages=[language])


async def test_a_model_that_keeps_crashing_asks_to_be_replaced(
    service: SpeechService,
    marking_engine: Engine,
    outside: Outside,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prompt = await make_prompt(service)

    def crash(*_: object) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(marking_engine.codec, "decode", crash)
        for expected in (0, 0, 1):
            with pytest.raises(GenerationFailedError):
                await speak(service, prompt)
            assert outside.breakdowns == expected
    assert samples_of(await speak(service, prompt)).any()


async def test_a_lost_gpu_asks_once_to_be_replaced(
    marking_engine: Engine,
    watermarker: Watermarker,
    outside: Outside,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = make_service(marking_engine, watermarker, outside)
    prompt = await make_prompt(service, ref_text="The words of the reference.")

    def lose(*_: object) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(marking_engine.codec, "decode", lose)
    answers = await asyncio.gather(
        *(speak(service, prompt) for _ in range(3)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [BackendUnavailableError] * 3
    with pytest.raises(BackendUnavailableError):
        await speak(service, prompt)
    assert outside.breakdowns == 1
    assert not service.health()["ready"]
    await service.close()


async def test_a_closed_service_takes_nothing_more(
    service: SpeechService, outside: Outside
) -> None:
    assert service.health()["ready"]
    await service.close()
    assert not service.health()["ready"]
    with pytest.raises(BackendUnavailableError):
        await clone(service, ref_audio="https://clips.example/a.wav")
    assert not outside.fetched


async def test_it_says_what_it_is_in_plain_data(service: SpeechService) -> None:
    info, health = service.info(), service.health()
    assert json.loads(json.dumps(info)) == info
    assert json.loads(json.dumps(health)) == health
    assert info["model_id"] == health["model_id"]
    assert (info["model_name"], info["device"]) == ("Miniature", "cpu")
    assert (info["gpu"], info["gpu_memory_gb"]) == ("CPU", 0.0)
    assert {"Auto", "English", "Japanese"} <= set(info["supported_languages"])
    assert (info["loop"], info["attention_implementation"]) == ("timbre", "sdpa")
    assert info["text_layout"] == "before"
    assert (info["cuda_graphs"], info["cuda_graphs_reason"]) == (False, "there is no GPU")
    assert info["rows"] == 16
    assert (info["weights"], info["dtype"]) == ("float32", "float32")
    assert info["weights_reason"]
    assert {"codec_dtype", "memory_bytes", "load_seconds", "versions"} <= info.keys()
    assert info["limits"]["max_text_characters"] == MAX_SPOKEN_CHARACTERS


async def _until(condition: Any) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
