"""The service answers as its callers expect, and refuses before it works."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backend.contract import (
    MAX_SPOKEN_CHARACTERS,
    MAX_TRANSCRIPT_CHARACTERS,
    REFERENCE_SAMPLE_RATE,
    BackendUnavailableError,
    ConsentMissingError,
    ConsentRecord,
    GenerationFailedError,
    LanguageNotSupportedError,
    ReferenceUnusableError,
    SpeechRunsOnError,
    TextNotSpeakableError,
    VoicePromptInvalidError,
    VoicePromptModelMismatchError,
)
from backend.reference.transcriber import Transcriber
from backend.reference.transcript import Hearing
from backend.speech_wish import MAX_TEXTS
from backend.voice_prompt import read_voice_prompt
from tests.backend.conftest import buzz, load
from tests.backend.service_parts import STATEMENT, Ears, Outside, clip, make_service, samples_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from backend.contract import PcmChunk
    from backend.engine.engine import Engine
    from backend.service import SpeechService
    from backend.voice_prompt import ClonedVoice
    from backend.watermark.watermark import Watermarker

ROUNDING = 0.001
"""How far samples may be off because they were computed in a batch of another size."""

LOW, HIGH = clip(110), clip(240)
SENTENCE = "Good evening, everybody."
SEED = 1
"""With it the miniature ends its sentence after about a second."""


@pytest.fixture(scope="module")
def watermarker() -> Watermarker:
    from backend.watermark.watermark import Watermarker  # noqa: PLC0415 - seconds of importing

    return Watermarker()


@pytest.fixture(scope="module")
def marking_engine(checkpoint: Path, watermarker: Watermarker) -> Engine:
    return load(checkpoint, watermark=watermarker)


@pytest.fixture
def ears() -> Ears:
    return Ears()


@pytest.fixture
def outside() -> Outside:
    return Outside()


@pytest.fixture
async def service(
    marking_engine: Engine, watermarker: Watermarker, ears: Ears, outside: Outside
) -> AsyncIterator[SpeechService]:
    service = make_service(marking_engine, watermarker, outside, hearing=ears.hearing)
    yield service
    await service.close()


async def clone(service: SpeechService, *texts: str, **changes: Any) -> list[bytes]:
    arguments: dict[str, Any] = {
        "texts": texts or [SENTENCE],
        "languages": ["English"] * max(1, len(texts)),
        "ref_audio": LOW,
        "ref_text": "The words of the reference.",
        "max_new_tokens": 2048,
        "consent": STATEMENT,
        "seed": SEED,
    }
    return await service.clone(**{**arguments, **changes})


async def make_prompt(
    service: SpeechService, ref_audio: bytes | str = LOW, **changes: Any
) -> bytes:
    arguments = {"ref_text": None, "consent": STATEMENT, "caller": "", **changes}
    answer = await service.create_voice_prompt(ref_audio, **arguments)
    return answer["prompt"]


async def speak(service: SpeechService, prompt: bytes, **changes: Any) -> bytes:
    arguments: dict[str, Any] = {
        "text": SENTENCE,
        "language": "English",
        "max_new_tokens": 2048,
        "seed": SEED,
        "caller": "",
    }
    return await service.speak(**{**arguments, "prompt": prompt, **changes})


def inside(prompt: bytes, engine: Engine) -> ClonedVoice:
    return read_voice_prompt(prompt, engine._prompt_model)


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
    assert not (await service.detect_watermark(LOW))["watermarked"]
    with pytest.raises(ReferenceUnusableError):
        await service.detect_watermark(b"no audio")


async def test_a_batch_is_spoken_with_one_voice(service: SpeechService) -> None:
    batch = await clone(service, SENTENCE, "Another one.", SENTENCE)
    assert batch[0] == batch[2] != batch[1]
    [alone] = await clone(service)
    assert np.abs(samples_of(batch[0]) - samples_of(alone)).max() < ROUNDING


async def test_a_full_batch_is_spoken(service: SpeechService) -> None:
    spoken = await clone(service, *["Well."] * MAX_TEXTS)
    assert len(spoken) == MAX_TEXTS


async def test_a_kept_voice_speaks_as_when_it_was_made(service: SpeechService) -> None:
    prompt = await make_prompt(service, ref_text="The words of the reference.")
    [at_once] = await clone(service)
    assert await speak(service, prompt) == at_once
    assert await speak(service, prompt, seed=8) != at_once


async def test_speech_comes_piece_by_piece_and_stops_when_nobody_listens(
    service: SpeechService,
) -> None:
    prompt = await make_prompt(service)
    stream = service.stream(SENTENCE, "English", prompt, 2048, seed=SEED, caller="")
    chunks: list[PcmChunk] = [await anext(stream)]
    assert service.health()["speaking"] == 1, "the first piece comes before the last is made"
    chunks += [chunk async for chunk in stream]
    whole = samples_of(await speak(service, prompt))
    pieces = np.frombuffer(b"".join(chunk.pcm for chunk in chunks), "<i2") / 32_768
    assert np.array_equal(pieces, whole)

    stopped = service.stream(SENTENCE * 9, "English", prompt, 2048, seed=SEED, caller="")
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


async def test_nobody_is_cloned_without_consent(
    service: SpeechService, outside: Outside, ears: Ears
) -> None:
    address = "https://clips.example/a.wav"
    for consent in (None, "", {"attested_by": 1}):
        with pytest.raises(ConsentMissingError):
            await clone(service, ref_audio=address, consent=consent)
        with pytest.raises(ConsentMissingError):
            await make_prompt(service, ref_audio=address, consent=consent)
    assert not outside.fetched
    assert not ears.clips


async def test_a_private_installation_may_ask_for_no_consent(
    checkpoint: Path, watermarker: Watermarker, outside: Outside
) -> None:
    engine = load(checkpoint, require_consent=False)
    service = make_service(engine, watermarker, outside, require_consent=False)
    assert not service.info()["requires_consent"]
    assert inside(await make_prompt(service, consent=None), engine).consent is None
    await service.close()


async def test_the_consent_stays_with_the_voice(
    service: SpeechService, marking_engine: Engine, consent: ConsentRecord
) -> None:
    prompt = await make_prompt(service, consent=consent)
    assert inside(prompt, marking_engine).consent == consent
    kept = inside(await make_prompt(service, consent=STATEMENT), marking_engine).consent
    assert kept is not None
    assert kept.statement_version == STATEMENT


async def test_what_was_heard_takes_the_transcripts_place(
    service: SpeechService, ears: Ears
) -> None:
    answer = await service.create_voice_prompt(LOW, None, consent=STATEMENT, caller="")
    assert (answer["mode"], answer["transcript"]) == ("in-context", ears.text)
    assert answer["heard"] == {"text": ears.text, "language": "English", "differs": False}
    [without] = await clone(service, ref_text=None)
    [with_it] = await clone(service, ref_text=ears.text)
    assert without == with_it


@pytest.mark.parametrize("hears_nothing", [True, False])
async def test_without_words_a_voice_rests_on_the_sound_alone(
    marking_engine: Engine, watermarker: Watermarker, outside: Outside, hears_nothing: bool
) -> None:
    hearing = Ears(text="").hearing if hears_nothing else Hearing(None)
    service = make_service(marking_engine, watermarker, outside, hearing=hearing)
    answer = await service.create_voice_prompt(LOW, " ", consent=STATEMENT, caller="")
    assert (answer["mode"], answer["transcript"]) == ("x-vector", None)
    assert (answer["heard"] is None) is not hears_nothing
    assert samples_of(await speak(service, answer["prompt"])).any()
    assert samples_of((await clone(service, ref_text=None))[0]).any()
    await service.close()


@pytest.mark.parametrize(
    ("given", "differs"),
    [
        ("the words, of the Reference", False),
        ("Rice is often served in round bowls, and lemons make fine punch.", True),
    ],
)
async def test_a_transcript_that_says_something_else_is_told(
    service: SpeechService, given: str, differs: bool
) -> None:
    answer = await service.create_voice_prompt(LOW, given, consent=STATEMENT, caller="")
    assert answer["transcript"] == given
    assert answer["heard"] is not None
    assert answer["heard"]["differs"] is differs


async def test_nothing_waits_while_somebody_listens(service: SpeechService, ears: Ears) -> None:
    ears.seconds = 0.5
    listening = asyncio.create_task(service.transcribe(LOW))
    ticks = 0
    while not listening.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert (await listening)["text"] == ears.text
    assert ticks > 20


async def test_without_a_transcriber_nothing_is_written_down(
    marking_engine: Engine, watermarker: Watermarker, outside: Outside, tmp_path: Path
) -> None:
    hearing = Hearing(lambda: Transcriber(tmp_path))
    service = make_service(marking_engine, watermarker, outside, hearing=hearing)
    with pytest.raises(BackendUnavailableError, match="transcriber"):
        await service.transcribe(LOW)
    assert not service.info()["transcribes"]
    assert (await service.create_voice_prompt(LOW, None, consent="x", caller=""))["heard"] is None
    await service.close()


async def test_a_transcriber_that_fails_does_not_keep_a_voice_from_being_made(
    service: SpeechService, ears: Ears, caplog: pytest.LogCaptureFixture
) -> None:
    ears.fails = True
    answer = await service.create_voice_prompt(LOW, None, consent=STATEMENT, caller="")
    assert (answer["mode"], answer["heard"]) == ("x-vector", None)
    assert "RuntimeError" in caplog.text
    assert ears.text not in caplog.text


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
        await speak(service, prompt)


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
        patch.setattr(marking_engine._codec, "decode", crash)
        for expected in (0, 0, 1):
            with pytest.raises(GenerationFailedError):
                await speak(service, prompt)
            assert outside.breakdowns == expected
    assert samples_of(await speak(service, prompt)).any()


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
    assert (info["label"], info["device"], info["gpu"]) == ("Miniature", "cpu", None)
    assert {"Auto", "English", "Japanese"} <= set(info["languages"])
    assert {"attention", "dtype", "memory_bytes", "load_seconds", "versions"} <= info.keys()
    assert info["limits"]["max_text_characters"] == MAX_SPOKEN_CHARACTERS


async def _until(condition: Any) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
