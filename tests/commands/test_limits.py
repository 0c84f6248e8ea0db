"""Limits as people meet them: what is refused, when it works again, and what counts."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from backend.contract import BackendBusyError
from bot.guilds.records import Scope
from tests.support.discord_server import Member, Server, open_server
from tests.support.scripted_backend import SECONDS_PER_CHARACTER, ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from backend.contract import PcmChunk, ReferenceClip, SpeechRequest

ONE_SENTENCE = "This sentence has no more and no less than sixty characters."
SECONDS = len(ONE_SENTENCE) * SECONDS_PER_CHARACTER
"""How long the backend speaks; the bot expects a little more."""


@pytest.fixture
def limited(tmp_path: Path, backend: ScriptedBackend) -> Any:
    def open_limited(**settings: Any) -> AbstractAsyncContextManager[Server]:
        return open_server(tmp_path, backend, **settings)

    return open_limited


async def member(server: Server, name: str) -> Member:
    member = server.member(name)
    await member.saves_voice()
    return member


async def used(server: Server, who: Member) -> float:
    await server.bot.policy.ledger.written()
    return (await server.bot.policy.usage.today(Scope.PERSON, who.actor.id)).seconds


def again(told: str) -> str:
    """The words, without the moment at which it works again."""
    assert re.search(r"<t:\d{10}:R>", told), told
    return re.sub(r"<t:\d{10}:R>", "later", told)


async def test_a_person_has_so_much_speech_a_day_also_after_a_restart(limited: Any) -> None:
    async with limited(seconds_per_person=6) as server:
        ada, grace = [await member(server, name) for name in ("ada", "grace")]
        assert (await ada.types("say", text=ONE_SENTENCE)).posted
        assert await used(server, ada) == pytest.approx(SECONDS)
        for _ in range(2):
            refused = await ada.types("say", text=ONE_SENTENCE)
            assert not refused.posted
            assert again(refused.told) == (
                "That takes about 4 seconds of speech, and you have 3 seconds left today. "
                "Please shorten it, or try again later."
            )
            await server.restarts()
        assert (await ada.types("say", text="Hi there.")).posted
        assert (await grace.types("say", text=ONE_SENTENCE)).posted


async def test_a_server_and_everybody_have_so_much_speech_a_day(limited: Any) -> None:
    async with limited(seconds_per_server=5, seconds_in_all=6) as server:
        ada, grace = [await member(server, name) for name in ("ada", "grace")]
        await ada.types("say", text=ONE_SENTENCE)
        refused = await grace.types("say", text=ONE_SENTENCE)
        assert "this server has 2 seconds left today" in refused.told
        elsewhere = server.env.create_guild("Another server")
        channel = elsewhere.create_text_channel("voices")
        guest = Member(
            Server(server.env, server.bot, server.speech, channel),
            elsewhere.add_member(server.env.create_user("linus")),
        )
        await guest.saves_voice()
        refused = await guest.types("say", text=ONE_SENTENCE)
        assert "I have 3 seconds left for everybody today" in refused.told


async def test_a_text_that_never_fits_is_not_put_off(limited: Any) -> None:
    async with limited(seconds_per_person=3) as server:
        ada = await member(server, "ada")
        refused = await ada.types("say", text=ONE_SENTENCE)
        assert refused.told == (
            "That takes about 4 seconds of speech, more than the 3 seconds that I can make here in "
            "a day. Please shorten it."
        )


class LongWinded(ScriptedBackend):
    """Speaks far longer than anybody expects, for example where a text is all digits."""

    times = 6

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        async for chunk in super().speak(request):
            for _ in range(self.times):
                yield chunk


async def test_speech_that_never_ends_ends_where_the_limit_is(tmp_path: Path) -> None:
    backend = LongWinded()

    async def wait_for_the_ledger(_request: SpeechRequest) -> None:
        for work in server.bot.policy.ledger._open.values():
            if work._reserving is not None:
                await work._reserving

    backend.on_speak = wait_for_the_ledger
    async with open_server(tmp_path, backend, seconds_per_person=20) as server:
        ada = await member(server, "ada")
        answer = await ada.types("say", text=" ".join([ONE_SENTENCE] * 5))
        assert again(answer.told) == "You've used all your speech for today. You get more later."
        assert await used(server, ada) == pytest.approx(3 * 6 * SECONDS, abs=6 * SECONDS)
        [message] = answer.posted
        assert "of 5 sentences:" in message.content
        assert len(await answer.files()) == 1


async def test_nothing_is_downloaded_for_what_is_refused(limited: Any, recording: bytes) -> None:
    async with limited(seconds_per_person=33) as server:
        ada = await member(server, "ada")
        await ada.types("say", text=ONE_SENTENCE)
        with server.attachments_expire():
            refused = await ada.clones(recording)
        assert "of speech, and you have 30 seconds left today" in refused.told
        assert refused.told.endswith("The recording counts as up to 30 seconds of that.")


async def test_a_clone_counts_its_recording_and_its_speech(
    limited: Any, backend: ScriptedBackend, recording: bytes
) -> None:
    async with limited() as server:
        ada = server.member("ada")
        assert (await ada.clones(recording, ONE_SENTENCE, name="Ada")).posted
        (clip,) = backend.clips
        assert await used(server, ada) == pytest.approx(clip.seconds + SECONDS)
        form = await ada.types("voice transcript", voice="Ada")
        (label,) = form.fields_of_form()
        await ada.submits(form, {label: "Something else."})
        assert await used(server, ada) == pytest.approx(2 * clip.seconds + SECONDS)


async def test_a_recording_that_is_learned_again_says_what_it_counts(limited: Any) -> None:
    async with limited(seconds_per_person=10) as server:
        ada = await member(server, "ada")
        form = await ada.types("voice transcript", voice="ada")
        (label,) = form.fields_of_form()
        refused = await ada.submits(form, {label: "Something else."})
        assert refused.told.endswith("The recording counts as up to 12 seconds of that.")


async def test_a_voice_that_cannot_be_made_costs_nothing(
    limited: Any, backend: ScriptedBackend, recording: bytes
) -> None:
    async def fail(_clip: ReferenceClip) -> None:
        raise BackendBusyError

    backend.on_prepare = fail
    async with limited() as server:
        ada = server.member("ada")
        assert not (await ada.clones(recording)).posted
        assert await used(server, ada) == 0


async def test_speech_that_is_stopped_counts_what_was_made(
    limited: Any, backend: ScriptedBackend
) -> None:
    async def hang_in_the_third(_request: SpeechRequest) -> None:
        if len(backend.spoken) == 2:
            await asyncio.sleep(3_600)

    async with limited(seconds_per_person=30) as server:
        ada = await member(server, "ada")
        backend.on_speak = hang_in_the_third
        progress = await ada.begins("say", text=" ".join([ONE_SENTENCE] * 6))
        refused = await ada.begins("say", text=" ".join([ONE_SENTENCE] * 2))
        assert "you have 6 seconds left" in refused.content, "the rest is reserved"
        await ada.presses(progress, "Stop")
        assert await used(server, ada) == pytest.approx(2 * SECONDS)
        backend.on_speak = None
        assert (await ada.types("say", text=" ".join([ONE_SENTENCE] * 2))).posted


async def test_a_person_is_told_once_when_a_fifth_is_left(limited: Any) -> None:
    async with limited(seconds_per_person=11) as server:
        ada = await member(server, "ada")
        answers = [await ada.types("say", text=ONE_SENTENCE * times) for times in (1, 2)]
        assert not answers[0].told
        assert again(answers[1].told) == (
            "You have about 2 seconds of speech left today. You get more later."
        )
        assert not (await ada.types("say", text="Hi there.")).told


async def test_a_person_is_told_when_nothing_is_left(tmp_path: Path) -> None:
    backend = LongWinded()
    backend.times = 2
    async with open_server(tmp_path, backend, seconds_per_person=4) as server:
        ada = await member(server, "ada")
        answer = await ada.types("say", text=ONE_SENTENCE)
        assert again(answer.told) == "That was all your speech for today. You get more later."


async def test_a_person_has_so_many_requests_a_minute(limited: Any) -> None:
    async with limited(requests_per_minute=2) as server:
        ada, grace = [await member(server, name) for name in ("ada", "grace")]
        for _ in range(2):
            assert (await ada.types("say", text="Hello there.")).posted
        refused = await ada.types("say", text="Hello there.")
        assert again(refused.told) == (
            "I can say or make 2 things a minute for each person. You can go on later."
        )
        assert (await grace.types("say", text="Hello there.")).posted


async def test_a_server_has_so_many_requests_at_once(
    limited: Any, backend: ScriptedBackend
) -> None:
    async def hang(_request: SpeechRequest) -> None:
        await asyncio.sleep(3_600)

    async with limited(at_once_per_server=1) as server:
        ada, grace = [await member(server, name) for name in ("ada", "grace")]
        backend.on_speak = hang
        progress = await ada.begins("say", text="Hello there.")
        refused = await grace.begins("say", text="Hello there.")
        assert refused.content.startswith("I'm doing as much as I can at once in this server (1).")
        await ada.presses(progress, "Stop")
        backend.on_speak = None
        assert (await grace.types("say", text="Hello there.")).posted


async def test_zero_is_no_limit(limited: Any) -> None:
    async with limited(
        seconds_per_person=0, seconds_per_server=0, seconds_in_all=0, requests_per_minute=0
    ) as server:
        ada = await member(server, "ada")
        for _ in range(3):
            answer = await ada.types("say", text=ONE_SENTENCE)
            assert answer.posted
            assert not answer.told


async def test_a_server_has_lower_limits_of_its_own(limited: Any) -> None:
    async with limited() as server:
        await server.bot.policy.settings.change(
            server.guild.id, lambda decided: replace(decided, seconds_per_person=5)
        )
        ada = await member(server, "ada")
        assert (await ada.types("say", text=ONE_SENTENCE)).posted
        assert "you have 2 seconds left" in (await ada.types("say", text=ONE_SENTENCE)).told
