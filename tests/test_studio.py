"""The pipeline as a whole: recordings to voices, voices and texts to speech."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backend.contract import (
    AUTO_LANGUAGE,
    LANGUAGES,
    BackendUnavailableError,
    ConsentMissingError,
    LanguageNotSupportedError,
    SpeechError,
    SpeechRequest,
    VoicePrompt,
    VoicePromptInvalidError,
    VoicePromptModelMismatchError,
)
from bot import studio as studio_module
from bot.audio import clip as clips
from bot.audio.reference import ReferenceAudio, ReferenceReader
from bot.errors import Note, Reason, Remark
from bot.storage.database import open_database
from bot.streaming import Speech, SpeechChunk, collect
from bot.studio import Step, Studio
from bot.text import Sentence
from bot.voices.consent import Permission, confirm
from bot.voices.library import VoiceLibrary
from tests.support.refusals import refused
from tests.support.scripted_backend import SAMPLE_RATE, ScriptedBackend
from tests.voices.people import ANA, MODEL, consent_of, replace_recording, save

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from bot.voices.records import SavedVoice

SENTENCES = [Sentence("Hello there.", ends_paragraph=True)]
NOTES = (Note(Remark.RECORDING_NOISY),)
CLIP = clips.to_flac(bytes(2 * 3 * 24_000))


class Reader(ReferenceReader):
    """Finds the same reference audio in every upload."""

    async def read(self, data: bytes, *, transcript_given: bool) -> ReferenceAudio:  # noqa: ARG002
        return ReferenceAudio(np.zeros(3 * 24_000, np.float32), 3.0, NOTES)


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend()


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[VoiceLibrary]:
    library = VoiceLibrary(await open_database(f"sqlite:///{tmp_path}/voices.db"))
    yield library
    await library.close()


@pytest.fixture
def studio(backend: ScriptedBackend, library: VoiceLibrary) -> Studio:
    return Studio(speech=backend, reader=Reader(), library=library)


def nameless(*_mention: object) -> None: ...


async def spoken(studio: Studio, voice: SavedVoice | VoicePrompt) -> Speech:
    stream = studio.stream(SENTENCES, voice, language="English", caller="guild/ana")
    return await collect(stream, on_sentence=lambda _number: None)


async def test_a_recording_becomes_a_voice_that_can_be_spoken_with(
    studio: Studio, backend: ScriptedBackend
) -> None:
    steps: list[Step] = []
    voice = await studio.make_voice(
        b"upload", transcript="Hello.", consent=consent_of(ANA), on_step=steps.append
    )
    assert steps == [Step.LISTENING, Step.LEARNING]
    assert (voice.transcript, voice.clip_seconds, voice.notes) == ("Hello.", 3.0, NOTES)
    assert clips.from_flac(voice.clip_flac) == backend.clips[0].pcm
    speech = await spoken(studio, voice.prompt)
    assert speech.sample_rate == SAMPLE_RATE
    assert speech.seconds == pytest.approx(len("Hello there.") * 0.05, abs=0.1)


async def test_every_request_names_its_caller_and_language(
    studio: Studio, backend: ScriptedBackend
) -> None:
    requests: list[SpeechRequest] = []

    async def note(request: SpeechRequest) -> None:
        requests.append(request)

    backend.on_speak = note
    prompt = VoicePrompt(b"300", backend.model_id)
    await spoken(studio, prompt)
    assert requests == [SpeechRequest("Hello there.", prompt, "English", caller="guild/ana")]


async def test_a_missing_prompt_is_made_from_the_clip_once(
    studio: Studio, backend: ScriptedBackend, library: VoiceLibrary
) -> None:
    voice = await save(library, ANA, "Ana", CLIP)  # with a prompt for MODEL alone
    await spoken(studio, voice)
    await spoken(studio, voice)
    assert len(backend.clips) == 1
    assert backend.clips[0].transcript == voice.transcript
    assert await library.prompt(voice, backend.model_id) is not None


REFUSALS = (VoicePromptInvalidError("damaged"), ConsentMissingError("of an older bot"))


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_refused_prompt_is_rebuilt_with_its_consent_and_tried_once_more(
    studio: Studio, backend: ScriptedBackend, library: VoiceLibrary, refusal: SpeechError
) -> None:
    backend.model_id = MODEL
    voice = await save(library, ANA, "Ana", CLIP)
    tries: list[bytes] = []

    async def refuse_the_stored_one(request: SpeechRequest) -> None:
        tries.append(request.prompt.data)
        if len(tries) == 1:
            raise refusal

    backend.on_speak = refuse_the_stored_one
    assert (await spoken(studio, voice)).pcm
    assert tries == [b"codes and an embedding", b"400"]
    assert backend.consents == [voice.consent]

    async def refuse(_request: SpeechRequest) -> None:
        raise refusal

    backend.on_speak = refuse
    with pytest.raises(type(refusal)):
        await spoken(studio, voice)
    assert len(backend.clips) == 2


async def test_a_refused_prompt_of_an_unsaved_voice_is_an_error(
    studio: Studio, backend: ScriptedBackend
) -> None:
    with pytest.raises(VoicePromptModelMismatchError):
        await spoken(studio, VoicePrompt(b"300", "another/model"))
    assert backend.clips == []


async def test_speech_is_never_made_with_a_recording_that_was_replaced(
    studio: Studio, backend: ScriptedBackend, library: VoiceLibrary
) -> None:
    voice = await save(library, ANA, "Ana", CLIP)
    consent = confirm(Permission.OWN, by=ANA, at=datetime.now(UTC))

    async def replace(_clip: object) -> None:
        await replace_recording(library, voice, CLIP, consent=consent)

    backend.on_prepare = replace
    with refused(Reason.RECORDING_REPLACED):  # while the prompt is made again
        await spoken(studio, voice)
    backend.on_prepare = None
    with refused(Reason.RECORDING_REPLACED):  # as in a queue
        await spoken(studio, voice)
    assert (await library.find(ANA, "Ana")).prompt_models == (MODEL,)
    assert (await spoken(studio, await library.find(ANA, "Ana"))).pcm


async def test_a_damaged_clip_is_told(studio: Studio, library: VoiceLibrary) -> None:
    voice = await save(library, ANA, "Ana", b"fLaC but not really")
    with refused(Reason.CLIP_DAMAGED):
        await spoken(studio, voice)
    with refused(Reason.CLIP_DAMAGED):
        await studio.correct_transcript(voice, "Hello.", on_step=lambda _step: None)


async def test_a_corrected_transcript_replaces_transcript_and_prompts(
    studio: Studio, backend: ScriptedBackend, library: VoiceLibrary
) -> None:
    voice = await save(library, ANA, "Ana", CLIP)
    steps: list[Step] = []
    assert await studio.correct_transcript(voice, "Hello.", on_step=steps.append) is None
    assert steps == [Step.LEARNING]
    assert backend.clips[0].transcript == "Hello."
    found = await library.find(ANA, "Ana")
    assert (found.transcript, found.prompt_models) == ("Hello.", (backend.model_id,))


async def test_texts_that_cannot_be_spoken_are_refused(studio: Studio) -> None:
    async def script(typed: str, language: str = "English") -> list[Sentence]:
        return await studio.script(typed, language=language, name_of=nameless)

    assert await script("Hello there.") == SENTENCES
    with refused(Reason.NOTHING_TO_SAY):
        await script("🙃")
    with refused(Reason.TEXT_TOO_LONG, characters=5_001, limit=5_000):
        await script("x" * 5_001)
    with pytest.raises(LanguageNotSupportedError):
        await script("Hallo.", language="German")


@pytest.mark.parametrize(
    ("language", "typed"),
    [
        ("Arabic", "مرحبا بالجميع"),
        ("Hindi", "आप कैसे हैं?"),
        ("Thai", "สวัสดีครับ"),
        ("Hebrew", "שלום לכולם"),
        ("Greek", "Καλημέρα σε όλους"),
        ("Georgian", "დილა მშვიდობისა"),
        ("Tamil", "வணக்கம் நண்பர்களே"),
        ("Polish", "przyjdziesz dziś wieczorem pograć z nami?"),
    ],
)
async def test_a_text_in_no_language_of_the_model_is_told_at_once(
    studio: Studio, backend: ScriptedBackend, language: str, typed: str
) -> None:
    backend.languages = LANGUAGES
    with pytest.raises(LanguageNotSupportedError) as error:
        await studio.script(typed, language=AUTO_LANGUAGE, name_of=nameless)
    assert (error.value.language, error.value.supported) == (language, LANGUAGES)
    assert await studio.script(typed, language="English", name_of=nameless), "who chooses knows"


@pytest.mark.parametrize("typed", ["Am 24. Dezember feiern wir Weihnachten.", "ты придёшь сюда?"])
async def test_a_voice_that_speaks_english_only_reads_nothing_else(
    studio: Studio, backend: ScriptedBackend, typed: str
) -> None:
    with pytest.raises(LanguageNotSupportedError):
        await studio.script(typed, language=AUTO_LANGUAGE, name_of=nameless)
    backend.languages = LANGUAGES
    assert await studio.script(typed, language=AUTO_LANGUAGE, name_of=nameless)


@pytest.mark.parametrize("typed", ["gg", "haha lol xD", "Cristiano Ronaldo", "hello мир", "12:30"])
async def test_a_language_that_is_not_sure_is_no_reason_to_refuse(
    studio: Studio, typed: str
) -> None:
    assert await studio.script(typed, language=AUTO_LANGUAGE, name_of=nameless)


async def test_health_is_answered_in_time(
    studio: Studio, backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    await studio.health()

    async def fail() -> None:
        raise BackendUnavailableError("gone")

    monkeypatch.setattr(backend, "health", fail)
    with pytest.raises(SpeechError, match="gone"):
        await studio.health()
    monkeypatch.setattr(backend, "health", asyncio.Event().wait)
    monkeypatch.setattr(studio_module, "HEALTH_WITHIN_SECONDS", 0.01)
    with pytest.raises(TimeoutError):
        await studio.health()


async def test_a_backend_that_never_sleeps_cannot_be_kept_awake(studio: Studio) -> None:
    assert studio.cold_start() is None
    with refused(Reason.NEVER_SLEEPS):
        await studio.keep_awake(10)


async def test_how_loud_a_voice_is_is_known_the_next_time(
    studio: Studio, backend: ScriptedBackend, library: VoiceLibrary
) -> None:
    saved = await save(library, ANA, "Ana", CLIP)
    [first, *_] = await chunks_of(studio, saved, "Hi.")
    unknown = first.loudness
    [*_, last] = await chunks_of(studio, saved, "This takes more than two seconds to say.")
    assert last.loudness != unknown, "a word is too short to measure"
    await library.written()

    restarted = Studio(speech=backend, reader=Reader(), library=library)
    [first, *_] = await chunks_of(restarted, saved, "Hi.")
    assert first.loudness == last.loudness

    backend.model_id = "scripted/2"
    await chunks_of(restarted, saved, "Hi.")
    assert await library.loudness(saved, "scripted/2") is None, "another model may speak louder"


async def test_the_first_sound_does_not_wait_until_the_loudness_is_looked_up(
    studio: Studio,
    backend: ScriptedBackend,
    library: VoiceLibrary,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    saved = await save(library, ANA, "Ana", CLIP)
    looked_up = asyncio.Event()

    async def loudness(voice: SavedVoice, model_id: str) -> float | None:  # noqa: ARG001
        looked_up.set()
        return -20.0

    async def speaks_once_it_was_looked_up(request: SpeechRequest) -> None:  # noqa: ARG001
        await looked_up.wait()

    monkeypatch.setattr(library, "loudness", loudness)
    backend.on_speak = speaks_once_it_was_looked_up
    async with asyncio.timeout(5):
        [first, *_] = await chunks_of(studio, saved, "Hi.")
    assert first.loudness == pytest.approx(-20.0)


async def test_what_is_known_of_a_voice_is_forgotten_with_it(
    studio: Studio, library: VoiceLibrary
) -> None:
    saved = await save(library, ANA, "Ana", CLIP)
    await chunks_of(studio, saved, "This takes more than two seconds to say.")
    await library.delete(saved)
    assert await library.loudness(saved, studio.backend.model_id) is None
    await studio.note_loudness(saved, -20.0)
    assert await library.loudness(saved, studio.backend.model_id) is None


async def chunks_of(studio: Studio, voice: SavedVoice, text: str) -> list[SpeechChunk]:
    sentences = [Sentence(text, ends_paragraph=True)]
    return [chunk async for chunk in studio.stream(sentences, voice, language="English")]
