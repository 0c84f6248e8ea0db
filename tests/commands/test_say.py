"""`/say` as people use it: a saved voice, a text, and a file that fits."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING

import pytest
import soundfile

from backend.contract import SpeechRequest, VoicePromptInvalidError
from bot.interface.delivery import posting
from tests.commands.test_clone import pitch_of
from tests.support.discord_server import open_server
from tests.support.loudness import integrated_loudness
from tests.support.public_words import attribution, beside_file, text_beside
from tests.voices.people import consent_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.discord_server import Member, Server
    from tests.support.scripted_backend import ScriptedBackend

LONG_TEXT = "This is one sentence of a long story that goes on. " * 80


async def test_speaks_with_the_voice_that_is_named(ada: Member, recording: bytes) -> None:
    await ada.clones(recording, name="Low")
    await ada.clones(recording, name="High")
    low = await ada.types("say", text="Hello there, all of you.", voice="LOW")
    high = await ada.types("say", text="Hello there, all of you.", voice="high")
    assert pitch_of((await low.files())[0]) == pytest.approx(400, abs=5)
    assert pitch_of((await high.files())[0]) == pytest.approx(500, abs=5)
    assert low.posted[0].content == beside_file("Low", "Hello there, all of you.", ada)
    assert low.private is None, "nothing private is left to read"


@pytest.mark.parametrize("speed", [0.5, 2.0])
async def test_another_speed_changes_the_length_and_not_the_pitch(
    ada: Member, recording: bytes, speed: float
) -> None:
    await ada.clones(recording, name="Low")
    [usual] = await (await ada.types("say", text=LONG_TEXT[:300])).files()
    [changed] = await (await ada.types("say", text=LONG_TEXT[:300], speed=speed)).files()
    usual_seconds, seconds = (soundfile.info(io.BytesIO(ogg)).duration for ogg in (usual, changed))
    assert seconds == pytest.approx(usual_seconds / speed, rel=0.03)
    assert pitch_of(changed) == pytest.approx(400, abs=5)


async def test_uses_the_last_used_voice_by_default(ada: Member, recording: bytes) -> None:
    await ada.clones(recording, name="First")
    await ada.clones(recording, name="Second")
    newest = await ada.types("say", text="Hello there.")
    assert newest.posted[0].content.startswith("**Second**")
    await ada.types("say", text="Hello there.", voice="First")
    assert (await ada.types("say", text="Hello.")).posted[0].content.startswith("**First**")


async def test_without_a_voice_says_how_to_get_one(ada: Member) -> None:
    answer = await ada.types("say", text="Hello.")
    assert answer.told.startswith("You have no saved voice yet. Make one with `/clone`")


async def test_voices_of_others_are_not_there(ada: Member, grace: Member, recording: bytes) -> None:
    await ada.clones(recording, name="Ada")
    answer = await grace.types("say", text="Hello.", voice="Ada")
    assert answer.told.startswith("There's no voice of that name that you can use here.")
    offered = await grace.actor.autocomplete(grace.server.channel, "say", "voice", "A", text="x")
    assert offered == []


async def test_offers_at_most_25_voices_while_typing(
    server: Server, ada: Member, recording: bytes
) -> None:
    await ada.clones(recording, name="The first")
    library = server.bot.library
    [voice] = (await library.page(ada.actor.id)).voices
    clip = await library.clip(voice)
    prompt = await library.prompt(voice, "scripted/1")
    assert prompt is not None
    for number in range(30):
        await library.save(
            ada.actor.id,
            f"Voice {number}",
            clip_flac=clip.flac,
            clip_seconds=1.0,
            transcript=None,
            language=None,
            prompt=prompt,
            consent=consent_of(ada.actor.id),
            guild_id=None,
        )
    offered = await ada.actor.autocomplete(server.channel, "say", "voice", "", text="x")
    assert len(offered) == 25
    narrowed = await ada.actor.autocomplete(server.channel, "say", "voice", "voice 2", text="x")
    assert {choice["name"] for choice in narrowed} >= {"Voice 2", "Voice 20", "Voice 29"}


@pytest.mark.parametrize(
    ("option", "container"), [("ogg", "OGG"), ("mp3", "MP3"), ("wav", "WAV"), ("flac", "FLAC")]
)
async def test_gives_the_kind_of_file_that_is_asked_for(
    ada: Member, recording: bytes, option: str, container: str
) -> None:
    await ada.clones(recording, name="Ada")
    answer = await ada.types("say", text="Hello there, all of you.", format=option)
    [file] = answer.posted[0].attachments
    assert file.filename == f"speech.{option}"
    assert soundfile.info(io.BytesIO(await file.read())).format == container


@pytest.mark.parametrize("option", ["ogg", "mp3"])
async def test_files_have_the_same_loudness(ada: Member, recording: bytes, option: str) -> None:
    await ada.clones(recording, name="Ada")
    answer = await ada.types("say", text="Hello there, all of you. Good morning.", format=option)
    samples, sample_rate = soundfile.read(io.BytesIO((await answer.files())[0]))
    assert integrated_loudness(samples, sample_rate) == pytest.approx(-18, abs=1.5)


@pytest.mark.slow
async def test_a_long_text_becomes_one_file_and_shows_how_far_it_is(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada")
    backend.spoken.clear()

    async def take_a_while(_request: SpeechRequest) -> None:
        await asyncio.sleep(0.04)

    backend.on_speak = take_a_while
    answer = await ada.types("say", text=LONG_TEXT)
    assert len(backend.spoken) == 80
    [file] = await answer.files()
    assert soundfile.info(io.BytesIO(file)).duration == pytest.approx(80 * (2.5 + 0.3), rel=0.1)
    said = [body["content"] for body in server.requests("PATCH", "/@original")]
    assert any("Speaking sentence" in words and "of 80" in words for words in said), said


async def test_a_file_over_the_upload_limit_becomes_parts(
    server: Server, ada: Member, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada")
    with server.upload_limit(1_000_000):
        answer = await ada.types("say", text=LONG_TEXT[:2_000], format="wav")
    files = await answer.files()
    assert len(files) > 1
    assert all(len(file) <= 1_000_000 for file in files)
    names = [file.filename for message in answer.posted for file in message.attachments]
    assert names[0] == f"speech-1-of-{len(files)}.wav"


async def test_an_upload_that_discord_finds_too_large_is_sent_again_smaller(
    server: Server, ada: Member, recording: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ada.clones(recording, name="Ada")
    monkeypatch.setattr(posting, "SAFE_UPLOAD_LIMIT", 100_000)
    server.breaks("POST", "/webhooks/*", status=413, code=40005)
    answer = await ada.types("say", text="Hello there, all of you, near and far.", format="wav")
    assert await answer.files()
    assert all(len(file) <= 100_000 for file in await answer.files())


def pcm_in(files: list[bytes]) -> bytes:
    return b"".join(soundfile.read(io.BytesIO(file), dtype="int16")[0].tobytes() for file in files)


@pytest.mark.parametrize("accepted", [1, 2])
async def test_what_was_posted_before_the_limit_showed_is_not_posted_again(
    accepted: int,
    server: Server,
    ada: Member,
    recording: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await ada.clones(recording, name="Ada")
    text = LONG_TEXT[:1_500]
    whole = await ada.types("say", text=text, format="wav")
    [said] = await whole.files()
    monkeypatch.setattr(posting, "SAFE_UPLOAD_LIMIT", 300_000)
    monkeypatch.setattr(posting, "MAX_FILES_PER_MESSAGE", 1)
    too_large = server.breaks_after(accepted, "POST", "/webhooks/*", status=413, code=40005)
    with server.upload_limit(600_000), too_large:
        answer = await ada.types("say", text=text, format="wav")

    sizes = [len(file) for file in await answer.files()]
    assert all(300_000 < size <= 600_000 for size in sizes[:accepted])
    assert all(size <= 300_000 for size in sizes[accepted:])
    assert pcm_in(await answer.files()) == pcm_in([said]), "nothing twice, and nothing is missing"
    names = [file.filename for message in answer.posted for file in message.attachments]
    numbers = [int(name.split("-")[1]) for name in names]
    assert numbers == list(range(1, len(names) + 1))
    first, *others = [message.content for message in answer.posted]
    assert first.startswith(f"{attribution('Ada', ada)}:")
    assert set(others) == {f"-# {attribution('Ada', ada)}, continued"}, "each says who asked"


async def test_a_limit_that_is_lower_still_is_found(
    server: Server, ada: Member, recording: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ada.clones(recording, name="Ada")
    monkeypatch.setattr(posting, "SAFE_UPLOAD_LIMIT", 200_000)
    server.breaks("POST", "/webhooks/*", status=413, code=40005, times=2)
    answer = await ada.types("say", text="Hello there, all of you, near and far.", format="wav")
    assert all(len(file) <= 100_000 for file in await answer.files())


async def test_speech_is_posted_even_if_the_encoder_fails(
    ada: Member, recording: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ada.clones(recording, name="Ada")
    monkeypatch.setattr("bot.audio.encode.ffmpeg_path", lambda: "/nowhere/ffmpeg")
    for audio_format in ("ogg", "mp3", "voice-message"):
        answer = await ada.types("say", text="Hello there.", format=audio_format)
        [message] = answer.posted
        assert message.attachments[0].filename == "speech.wav"
        assert soundfile.info(io.BytesIO(await message.attachments[0].read())).duration > 0.5


async def test_a_voice_is_learned_again_when_the_model_changes(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada", transcript="The birch canoe slid.")
    backend.model_id = "scripted/2"
    answer = await ada.types("say", text="Hello there.")
    assert len(await answer.files()) == 1
    assert backend.clips[1].transcript == "The birch canoe slid."
    assert backend.clips[1].pcm == backend.clips[0].pcm, "from the clip that was kept"
    await ada.types("say", text="Hello there.")
    assert len(backend.clips) == 2, "and kept for the next time"
    [voice] = (await server.bot.library.page(ada.actor.id)).voices
    assert set(voice.prompt_models) == {"scripted/1", "scripted/2"}


async def test_a_damaged_prompt_is_made_anew(
    ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada")

    async def refuse_the_first(_request: SpeechRequest) -> None:
        backend.on_speak = None
        raise VoicePromptInvalidError("damaged")

    backend.on_speak = refuse_the_first
    assert len(await (await ada.types("say", text="Hello.")).files()) == 1
    assert len(backend.clips) == 2


async def test_a_voice_survives_a_restart(
    tmp_path: Path, backend: ScriptedBackend, recording: bytes
) -> None:
    async with open_server(tmp_path, backend) as server:
        ada = server.member("ada")
        await ada.clones(recording, name="Ada")
        first = (await (await ada.types("say", text="The very same words.")).files())[0]

        await server.restarts()
        again = (await (await ada.types("say", text="The very same words.")).files())[0]
        assert pitch_of(again) == pytest.approx(pitch_of(first), abs=1)


async def test_a_text_with_a_flipped_table_is_said_without_it(
    ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    await ada.clones(recording, name="Ada")
    backend.spoken.clear()
    await ada.types("say", text="Oh no, my table. (╯°□°)╯︵ ┻━┻ ︵ ┻━┻ !!! That was loud.")
    assert all(any(map(str.isalnum, sentence)) for sentence in backend.spoken)
    assert "Oh no, my table." in backend.spoken[0]


async def test_a_voice_speaks_the_language_it_was_made_with(
    ada: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    languages: list[str] = []

    async def listen(request: SpeechRequest) -> None:
        languages.append(request.language)

    backend.on_speak = listen
    await ada.clones(recording, name="Ada", language="English")
    await ada.types("say", text="Hello.")
    await ada.types("say", text="Hello.", language="Auto")
    assert languages == ["English", "English", "Auto"]


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("||the butler did it|| they say", "▮▮▮ they say"),
        ("[x](y) [Nitro](https://evil.example)", r"\[x\]\(y\) \[Nitro\]\(https://evil.example\)"),
        ("see <#1> and <@&2> **now**", r"see some channel and some role \*\*now\*\*"),
    ],
)
async def test_what_was_typed_is_shown_to_the_letter(
    ada: Member, recording: bytes, typed: str, shown: str
) -> None:
    await ada.clones(recording, name="Ada")
    answer = await ada.types("say", text=typed)
    assert text_beside(answer.posted[0].content) == shown
