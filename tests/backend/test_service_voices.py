"""A voice is made with consent and a transcript, or it is refused before any work is done."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from backend.contract import (
    BackendUnavailableError,
    ConsentMissingError,
    ConsentRecord,
    ReferenceClip,
    ReferenceUnusableError,
    SpeechRequest,
)
from backend.reference.transcriber import Transcriber
from backend.reference.transcript import LazyTranscriber
from tests.backend.conftest import load
from tests.backend.service_parts import (
    LOW,
    SENTENCE,
    STATEMENT,
    Outside,
    ScriptedTranscriber,
    clone,
    inside,
    make_prompt,
    make_service,
    samples_of,
    speak,
)
from tests.support.buzz import buzz
from tests.support.prompts import without_consent

if TYPE_CHECKING:
    from pathlib import Path

    from backend.engine.engine import Engine
    from backend.service import SpeechService
    from backend.watermark.watermark import Watermarker


async def test_nobody_is_cloned_without_consent(
    service: SpeechService, outside: Outside, transcriber: ScriptedTranscriber
) -> None:
    address = "https://clips.example/a.wav"
    for consent in (None, "", {"attested_by": 1}):
        with pytest.raises(ConsentMissingError):
            await clone(service, ref_audio=address, consent=consent)
        with pytest.raises(ConsentMissingError):
            await make_prompt(service, ref_audio=address, consent=consent)
    assert not outside.fetched
    assert not transcriber.clips


async def test_nobody_is_spoken_with_without_consent(service: SpeechService) -> None:
    prompt = await make_prompt(service)
    assert len(samples_of(await speak(service, prompt)))
    with pytest.raises(ConsentMissingError):
        await speak(service, without_consent(prompt))


async def test_a_private_installation_may_ask_for_no_consent(
    checkpoint: Path, watermarker: Watermarker, outside: Outside
) -> None:
    engine = load(checkpoint, require_consent=False)
    service = make_service(engine, watermarker, outside, require_consent=False)
    assert not service.info()["requires_consent"]
    prompt = await make_prompt(service, consent=None)
    assert inside(prompt, engine).consent is None
    assert len(samples_of(await speak(service, prompt)))
    await service.close()


async def test_the_consent_stays_with_the_voice(
    service: SpeechService, marking_engine: Engine, consent: ConsentRecord
) -> None:
    prompt = await make_prompt(service, consent=consent)
    assert inside(prompt, marking_engine).consent == consent
    kept = inside(await make_prompt(service, consent=STATEMENT), marking_engine).consent
    assert kept is not None
    assert kept.statement_version == STATEMENT


async def test_without_a_transcript_what_was_heard_is_used(
    service: SpeechService, transcriber: ScriptedTranscriber
) -> None:
    answer = await service.create_voice_prompt(LOW, None, consent=STATEMENT, caller="")
    assert (answer["mode"], answer["transcript"]) == ("in-context", transcriber.text)
    assert answer["heard"] == {"text": transcriber.text, "language": "English", "differs": False}
    [without] = await clone(service, ref_text=None)
    [with_it] = await clone(service, ref_text=transcriber.text)
    assert without == with_it


@pytest.mark.parametrize("hears_nothing", [True, False])
async def test_without_words_a_voice_rests_on_the_sound_alone(
    marking_engine: Engine, watermarker: Watermarker, outside: Outside, hears_nothing: bool
) -> None:
    lazy = ScriptedTranscriber(text="").lazy if hears_nothing else LazyTranscriber(None)
    service = make_service(marking_engine, watermarker, outside, transcriber=lazy)
    answer = await service.create_voice_prompt(LOW, " ", consent=STATEMENT, caller="")
    assert (answer["mode"], answer["transcript"]) == ("x-vector", None)
    assert (answer["heard"] is None) is not hears_nothing
    assert samples_of(await speak(service, answer["prompt"])).any()
    assert samples_of((await clone(service, ref_text=None))[0]).any()
    await service.close()


async def test_a_decoded_clip_is_prepared_like_a_file(
    service: SpeechService,
    transcriber: ScriptedTranscriber,
    marking_engine: Engine,
    consent: ConsentRecord,
) -> None:
    pcm = (buzz(110) * 32_767).astype("<i2").tobytes()
    voice = await service.prepare_voice(ReferenceClip(pcm), consent, caller="a")
    assert voice.prompt.model_id == service.model_id
    assert voice.heard is not None
    assert (voice.heard.text, voice.heard.differs) == (transcriber.text, False)
    kept = inside(voice.prompt.data, marking_engine)
    assert (kept.transcript, kept.consent) == (transcriber.text, consent)
    assert samples_of(await service.speak(SpeechRequest(SENTENCE, voice.prompt))).any()

    given = "Rice is often served in round bowls, and lemons make fine punch."
    other = await service.prepare_voice(ReferenceClip(pcm, transcript=given), consent, caller="a")
    assert other.heard is not None
    assert other.heard.differs
    assert inside(other.prompt.data, marking_engine).transcript == given


async def test_a_decoded_clip_is_refused_before_any_work(
    service: SpeechService, transcriber: ScriptedTranscriber, consent: ConsentRecord
) -> None:
    clip = ReferenceClip((buzz(110) * 32_767).astype("<i2").tobytes())
    with pytest.raises(ConsentMissingError):
        await service.prepare_voice(clip, None, caller="a")
    with pytest.raises(ReferenceUnusableError):
        await service.prepare_voice(ReferenceClip(clip.pcm[:-1]), consent, caller="a")
    await service.close()
    with pytest.raises(BackendUnavailableError):
        await service.prepare_voice(clip, consent, caller="a")
    assert not transcriber.clips


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


async def test_transcribing_does_not_block_the_event_loop(
    service: SpeechService, transcriber: ScriptedTranscriber
) -> None:
    transcriber.seconds = 0.5
    listening = asyncio.create_task(service.transcribe(LOW))
    ticks = 0
    while not listening.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert (await listening)["text"] == transcriber.text
    assert ticks > 20


async def test_without_a_transcriber_nothing_is_written_down(
    marking_engine: Engine, watermarker: Watermarker, outside: Outside, tmp_path: Path
) -> None:
    lazy = LazyTranscriber(lambda: Transcriber(tmp_path))
    service = make_service(marking_engine, watermarker, outside, transcriber=lazy)
    with pytest.raises(BackendUnavailableError, match="transcriber"):
        await service.transcribe(LOW)
    assert not service.info()["transcribes"]
    assert (await service.create_voice_prompt(LOW, None, consent="x", caller=""))["heard"] is None
    await service.close()


async def test_a_transcriber_that_fails_does_not_keep_a_voice_from_being_made(
    service: SpeechService, transcriber: ScriptedTranscriber, caplog: pytest.LogCaptureFixture
) -> None:
    transcriber.fails = True
    answer = await service.create_voice_prompt(LOW, None, consent=STATEMENT, caller="")
    assert (answer["mode"], answer["heard"]) == ("x-vector", None)
    assert "RuntimeError" in caplog.text
    assert transcriber.text not in caplog.text
