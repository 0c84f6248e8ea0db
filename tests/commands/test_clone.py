"""`/clone` as people use it: a permission, a recording, a text, and what comes back."""

from __future__ import annotations

import asyncio
import io
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from sqlalchemy import select

from backend.contract import (
    LANGUAGES,
    BackendBusyError,
    BackendUnavailableError,
    GenerationFailedError,
    Heard,
    ReferenceUnusableError,
    SpeechRequest,
)
from bot.interface.audit_log.lines import audit_line
from bot.interface.wording.first_words import FIRST_WORDS
from bot.voices.consent import STATEMENTS, Permission
from bot.voices.tables import ConsentRow
from tests.support.public_words import UNNAMED, beside_file
from tests.support.recordings import as_file, speech

if TYPE_CHECKING:
    from tests.support.discord_server import Member, Server
    from tests.support.scripted_backend import ScriptedBackend

NOT_SAVED = (
    "I didn't keep this voice. To keep it, use `/clone` again with a `name`. "
    "You confirmed: “This is my own voice. I will not use it to deceive or harm anyone.”"
)
SAVED = (
    "Your voice is saved as **Ada**. Use it any time with `/say`. "
    "You confirmed: “This is my own voice. I will not use it to deceive or harm anyone.”"
)


def pitch_of(ogg: bytes) -> float:
    """The strongest frequency in a file, in Hz: which of the scripted voices is heard."""
    samples, sample_rate = soundfile.read(io.BytesIO(ogg), dtype="float32")
    spectrum = np.abs(np.fft.rfft(samples))
    return float(np.argmax(spectrum) * sample_rate / len(samples))


class TestConsent:
    @pytest.mark.parametrize("permission", Permission)
    async def test_is_chosen_with_the_command_and_kept_with_the_voice(
        self,
        server: Server,
        ada: Member,
        backend: ScriptedBackend,
        recording: bytes,
        permission: Permission,
    ) -> None:
        answer = await ada.clones(recording, name="Ada", permission=permission)
        assert len(await answer.files()) == 1, "there is nothing more to answer"
        statement = STATEMENTS[permission.statement_version]
        whose = "Your" if permission is Permission.OWN else "The"
        assert answer.told.startswith(f"{whose} voice is saved as **Ada**.")
        assert f"You confirmed: “{statement}”" in answer.told
        saved = await server.bot.library.find(ada.actor.id, "Ada")
        assert saved.consent == backend.consents[0]
        assert saved.consent.attested_by == ada.actor.id
        assert saved.consent.statement_version == permission.statement_version
        assert abs(saved.consent.attested_at - saved.created_at) < timedelta(minutes=1)
        hers = ConsentRow.user_id == ada.actor.id
        async with server.bot.library._database.read() as session:
            [guild_id] = await session.scalars(select(ConsentRow.guild_id).where(hers))
        assert guild_id == server.guild.id

        info = await ada.types("voice info", voice="Ada")
        assert info.private is not None
        [shown] = [each for each in info.private.embeds[0].fields if each.name == "Consent"]
        assert str(shown.value).endswith(f": “{statement}”")

    async def test_of_a_voice_that_is_only_tried_is_in_its_prompt_and_the_log(
        self, server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
    ) -> None:
        await ada.clones(recording, permission=Permission.GIVEN)
        assert [each.attested_by for each in backend.consents] == [ada.actor.id]
        assert not await server.bot.library.keeps_anything_about(ada.actor.id)
        await server.bot.policy.audit.written()
        log = await server.bot.policy.audit.page(server.guild.id)
        [line] = map(audit_line, log.entries)
        assert line.endswith("tried a voice from a recording (with permission)")

    async def test_goes_with_its_voice(self, server: Server, ada: Member, recording: bytes) -> None:
        await ada.clones(recording, name="Mine")
        await ada.clones(recording, name="Grandma", permission=Permission.GIVEN)
        asked = await ada.types("voice delete", voice="Grandma")
        await ada.presses(asked.private, "Delete")
        hers = ConsentRow.user_id == ada.actor.id
        async with server.bot.library._database.read() as session:
            versions = list(await session.scalars(select(ConsentRow.statement_version).where(hers)))
        assert versions == [Permission.OWN.statement_version]

    async def test_comes_second_and_cannot_be_left_out(self, server: Server) -> None:
        [command] = [each for each in server.bot.tree.get_commands() if each.name == "clone"]
        options = command.to_dict(server.bot.tree)["options"]
        assert {each["name"]: each["required"] for each in options} == {
            "audio": True,
            "permission": True,
            "name": False,
            "text": False,
            "transcript": False,
            "language": False,
        }
        assert [each["name"] for each in options][:3] == ["audio", "permission", "name"]
        choices = options[1]["choices"]
        assert [each["name"] for each in choices] == [
            "This is my own voice",
            "I have the speaker's permission",
        ]
        assert "not to deceive or harm" in options[1]["description"]
        assert all(len(each["description"]) <= 100 for each in options)


class TestFirstWords:
    """Without a text, the voice greets in the language that was heard."""

    @pytest.mark.parametrize(
        ("heard", "options", "language"),
        [
            (Heard("Der Hund lief schnell.", "German"), {}, "German"),
            (Heard("Szybki pies.", None), {}, "English"),
            (None, {}, "English"),
            (None, {"transcript": "Le chien court très vite dans la forêt."}, "French"),
            (Heard("Der Hund lief schnell.", "German"), {"language": "Italian"}, "Italian"),
        ],
    )
    async def test_are_in_the_language_of_the_recording(
        self,
        ada: Member,
        backend: ScriptedBackend,
        recording: bytes,
        heard: Heard | None,
        options: dict[str, str],
        language: str,
    ) -> None:
        backend.languages, backend.heard = LANGUAGES, heard
        requests: list[SpeechRequest] = []

        async def listen(request: SpeechRequest) -> None:
            requests.append(request)

        backend.on_speak = listen
        answer = await ada.clones(recording, None, name="Ada", **options)
        assert {request.language for request in requests} == {language}
        said = "".join("".join(request.text for request in requests).split())
        assert said == "".join(FIRST_WORDS[language].split())
        assert FIRST_WORDS[language] in answer.posted[0].content

    async def test_are_english_where_the_engine_lacks_the_language(
        self, ada: Member, backend: ScriptedBackend, recording: bytes
    ) -> None:
        backend.heard = Heard("Der Hund lief schnell.", "German")
        answer = await ada.clones(recording, None)
        assert "Hello! This is my new voice" in answer.posted[0].content

    async def test_in_a_language_that_the_engine_lacks_are_refused_at_once(
        self, ada: Member, backend: ScriptedBackend, recording: bytes
    ) -> None:
        answer = await ada.clones(recording, None, language="German")
        assert answer.told.startswith("I can't speak German here yet.")
        assert not backend.clips


class TestSpeech:
    async def test_is_posted_for_all_with_what_is_said_and_by_what(
        self, ada: Member, backend: ScriptedBackend, recording: bytes
    ) -> None:
        answer = await ada.clones(
            recording, "The *birch* canoe slid. Nobody looked up!", name="Ada"
        )
        [message] = answer.posted
        shown = r"The \*birch\* canoe slid. Nobody looked up!"
        assert message.content == beside_file("Ada", shown, ada)
        [file] = message.attachments
        assert file.filename == "speech.ogg"
        assert pitch_of(await file.read()) == pytest.approx(400, abs=5)
        assert backend.spoken == ["The birch canoe slid.", "Nobody looked up!"]

    async def test_keeps_the_voice_only_if_it_has_a_name(
        self, server: Server, ada: Member, recording: bytes
    ) -> None:
        unnamed = await ada.clones(recording)
        assert unnamed.posted[0].content.startswith(beside_file(UNNAMED, "Hello.", ada))
        assert unnamed.told == NOT_SAVED
        assert (await server.bot.library.page(ada.actor.id)).total == 0

        named = await ada.clones(recording, name="Ada")
        assert named.told == SAVED
        [voice] = (await server.bot.library.page(ada.actor.id)).voices
        assert voice.name == "Ada"
        assert voice.clip_seconds == pytest.approx(6.0, abs=1.0)

    async def test_shows_what_was_heard_to_its_owner_alone(
        self, server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
    ) -> None:
        backend.heard = Heard("The birch canoe slid.", "English")
        named = await ada.clones(recording, name="Ada")
        assert named.told == (
            f"{SAVED} In your recording I heard: “The birch canoe slid”. "
            "If that isn't exactly what's said, please press “Correct the transcript” "
            "for a better voice."
        )
        assert "canoe" not in named.posted[0].content
        assert (await server.bot.library.find(ada.actor.id, "Ada")).transcript == backend.heard.text

        unnamed = await ada.clones(recording)
        assert "please use `/clone` again with a `transcript`" in unnamed.told

    async def test_says_nothing_of_a_transcript_that_fits(
        self, ada: Member, backend: ScriptedBackend, recording: bytes
    ) -> None:
        backend.heard = Heard("The birch canoe slid.", "English")
        answer = await ada.clones(recording, transcript="The birch canoe slid!")
        assert answer.told == NOT_SAVED

    async def test_says_that_a_transcript_does_not_fit(
        self, ada: Member, backend: ScriptedBackend, recording: bytes
    ) -> None:
        backend.heard = Heard("The birch canoe slid.", "English", differs=True)
        answer = await ada.clones(recording, transcript="Rice is served in bowls.")
        assert answer.told == (
            "Your transcript doesn't match. I heard: “The birch canoe slid”. "
            f"If I'm right, please use `/clone` again with a `transcript`. {NOT_SAVED}"
        )

    async def test_gives_the_backend_a_clean_clip_and_the_transcript(
        self, ada: Member, backend: ScriptedBackend, recording: bytes
    ) -> None:
        await ada.clones(recording, transcript="The birch canoe slid on the smooth planks.")
        [clip] = backend.clips
        assert clip.transcript == "The birch canoe slid on the smooth planks."
        assert clip.sample_rate == 24_000
        assert 3.0 <= clip.seconds <= 7.0

    async def test_of_a_long_recording_its_owner_alone_learns_which_part_was_used(
        self, ada: Member, backend: ScriptedBackend
    ) -> None:
        answer = await ada.clones(as_file(speech(45.0), 24_000, "mp3"))
        assert "so I used its clearest" in answer.told
        assert "clearest" not in answer.posted[0].content
        assert 10.0 <= backend.clips[0].seconds <= 20.0

    async def test_pings_nobody(self, server: Server, ada: Member, recording: bytes) -> None:
        await ada.clones(recording, "@everyone look, <@1> and @here!", name="@everyone")
        bodies = server.requests("POST", "/webhooks/")
        assert bodies
        assert all(body["allowed_mentions"] == {"parse": []} for body in bodies)


class TestProgress:
    async def test_is_private_from_the_first_moment(
        self, server: Server, ada: Member, recording: bytes
    ) -> None:
        await ada.clones(recording)
        deferred = server.requests("POST", "/callback")[0]
        assert deferred == {"type": 5, "data": {"flags": 64}}

    async def test_tells_what_is_being_done(
        self, server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
    ) -> None:
        async def take_a_while(_clip: object) -> None:
            await asyncio.sleep(0.6)

        backend.on_prepare = take_a_while
        await ada.clones(recording)
        words = [body["content"] for body in server.requests("PATCH", "/@original")]
        assert words[-2:] == ["Sending…", NOT_SAVED]
        assert {"Listening to your recording…", "Learning the voice…"}.intersection(words)


class TestRefusals:
    """Each names the problem and the remedy, is private, and leaves nothing behind."""

    async def refused(self, server: Server, member: Member, upload: bytes, **options: str) -> str:
        answer = await member.clones(upload, **options)
        assert answer.private is not None
        assert answer.private.ephemeral
        assert not answer.posted
        assert (await server.bot.library.page(member.actor.id)).total == 0
        return answer.told

    async def test_no_recording_at_all(self, server: Server, ada: Member) -> None:
        told = await self.refused(server, ada, b"#EXTM3U\nhttp://127.0.0.1/secret", name="Me")
        assert told == (
            "I can't find a recording in that file. It may be damaged, or a video without sound. "
            "Send wav, mp3, m4a, ogg, flac, webm or mp4."
        )

    async def test_no_speech(self, server: Server, ada: Member) -> None:
        times = np.arange(24_000 * 5) / 24_000
        tone = (0.3 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)
        told = await self.refused(server, ada, as_file(tone, 24_000, "wav"), name="Me")
        assert told.startswith("I can't hear any speech in that file.")

    async def test_too_little_speech(self, server: Server, ada: Member) -> None:
        told = await self.refused(server, ada, as_file(speech(1.5), 24_000, "wav"), name="Me")
        assert told.startswith("I need at least 3 seconds. Without its silence, this has 1.")

    async def test_too_long_for_its_transcript(self, server: Server, ada: Member) -> None:
        upload = as_file(speech(45.0), 24_000, "mp3")
        told = await self.refused(server, ada, upload, transcript="The birch canoe.", name="Me")
        assert "transcript" in told

    async def test_a_language_the_backend_lacks(
        self, server: Server, ada: Member, recording: bytes, backend: ScriptedBackend
    ) -> None:
        told = await self.refused(server, ada, recording, language="German", name="Me")
        assert told == (
            "I can't speak German here yet. This voice engine speaks only English. "
            "Write an English text, or ask whoever runs this bot for another engine."
        )
        assert not backend.clips

    async def test_a_text_without_words(
        self, server: Server, ada: Member, recording: bytes
    ) -> None:
        told = await self.refused(server, ada, recording, text="... !!!", name="Me")
        assert "nothing in that text I can say" in told


class TestBackendFailures:
    @pytest.mark.parametrize(
        ("error", "sentence"),
        [
            (ReferenceUnusableError("x"), "I couldn't make a voice from this recording."),
            (BackendBusyError(12.3), "Please try again in about 12 seconds."),
            (BackendUnavailableError("x"), "The voice engine isn't available right now."),
        ],
    )
    async def test_while_learning_the_voice_leave_nothing(
        self,
        server: Server,
        ada: Member,
        backend: ScriptedBackend,
        recording: bytes,
        error: Exception,
        sentence: str,
    ) -> None:
        async def fail(_clip: object) -> None:
            raise error

        backend.on_prepare = fail
        answer = await ada.clones(recording, name="Ada")
        assert sentence in answer.told
        assert not answer.posted
        assert (await server.bot.library.page(ada.actor.id)).total == 0

    async def test_while_speaking_keep_the_voice_and_say_so(
        self, server: Server, ada: Member, backend: ScriptedBackend, recording: bytes
    ) -> None:
        async def fail(_request: object) -> None:
            raise GenerationFailedError("noise")

        backend.on_speak = fail
        answer = await ada.clones(recording, name="Ada")
        assert answer.told == (
            f"The voice engine gave no usable speech this time. Please try again. {SAVED}"
        )
        assert (await server.bot.library.page(ada.actor.id)).total == 1
