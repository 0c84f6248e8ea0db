"""`/verify` as people use it: whether the bot made a recording."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backend.contract import BackendBusyError
from bot.guilds.records import Scope
from tests.support.discord_server import Member, Server, open_server
from tests.support.marking_backend import MarkingScriptedBackend
from tests.support.recordings import as_file, speech
from tests.support.scripted_backend import ScriptedBackend, tone

if TYPE_CHECKING:
    from pathlib import Path

RATE = 24_000
YES = (
    "That's most likely mine: it carries the inaudible mark that's in everything I say. "
    "A few other programs leave the same mark, and a steady tone behind a voice can look like it. "
    "If it shouldn't have been said, `/report` tells those who can act on it."
)
NO = (
    "I found no mark of mine in that, so I most likely didn't make it. That isn't proof: "
    "loud noise, heavy editing, or less than a second of speech can hide the mark."
)
ONLY_ITS_BEGINNING = (
    " I listened to the first 3 minutes only. To check the rest, send it on its own."
)


@pytest.fixture(scope="module")
def engine() -> MarkingScriptedBackend:
    return MarkingScriptedBackend()


async def verify(member: Member, file: bytes, name: str = "it.wav") -> str:
    answer = await member.types("verify", audio=(name, file))
    assert not answer.posted, "nobody else sees it"
    assert answer.private is not None
    assert answer.private.ephemeral
    return answer.told


async def used(server: Server, who: Member) -> float:
    await server.bot.policy.ledger.written()
    return (await server.bot.policy.usage.today(Scope.PERSON, who.actor.id)).seconds


async def test_says_whether_the_mark_was_found(
    server: Server, ada: Member, backend: MarkingScriptedBackend, recording: bytes
) -> None:
    assert await verify(ada, recording) == YES
    backend.finds = False
    assert await verify(ada, recording) == NO
    assert backend.callers == [f"{server.guild.id}/{ada.actor.id}"] * 2
    assert await used(server, ada) == pytest.approx(20.0)


async def test_searches_the_sound_of_any_kind_of_file_at_one_level(
    ada: Member, backend: MarkingScriptedBackend
) -> None:
    quiet = speech(2.0) * np.float32(0.02)
    assert await verify(ada, as_file(quiet, RATE, "mp4"), "clip.mp4") == YES
    [samples] = backend.searched
    assert len(samples) == pytest.approx(2 * RATE, rel=0.05)
    assert np.abs(samples).max() == pytest.approx(0.5, abs=0.001)


async def test_of_a_long_recording_it_searches_the_beginning_and_says_so(
    ada: Member, backend: MarkingScriptedBackend
) -> None:
    backend.finds = False
    long = as_file(np.tile(speech(5.0), 37), RATE, "ogg", "-b:a", "16k")
    assert await verify(ada, long) == NO + ONLY_ITS_BEGINNING
    [samples] = backend.searched
    assert len(samples) == 180 * RATE


async def test_a_tone_is_not_mine_whatever_it_looks_like(ada: Member) -> None:
    beep = np.frombuffer(tone(440, 60), "<i2").astype(np.float32) / np.float32(32_768)
    assert await verify(ada, as_file(beep, RATE, "wav")) == NO


async def test_samples_that_are_not_numbers_are_silence(
    ada: Member, backend: MarkingScriptedBackend
) -> None:
    broken = speech(2.0).copy()
    broken[::100], broken[1::100] = np.nan, np.inf
    backend.finds = False
    assert await verify(ada, as_file(broken, RATE, "wav", "-c:a", "pcm_f32le")) == NO
    assert np.isfinite(backend.searched[0]).all()
    assert np.abs(backend.searched[0]).max() == pytest.approx(0.5, abs=0.001)


async def test_what_holds_no_sound_is_refused_and_does_not_count(
    server: Server, ada: Member, backend: MarkingScriptedBackend
) -> None:
    assert "I can't find a recording in that file." in await verify(ada, b"no sound at all")
    assert "That file is empty." in await verify(ada, b"")
    assert not backend.searched
    assert await used(server, ada) == 0


async def test_a_search_that_fails_does_not_count(
    server: Server, ada: Member, backend: MarkingScriptedBackend, recording: bytes
) -> None:
    async def fail() -> None:
        raise BackendBusyError(40)

    backend.on_search = fail
    assert "Please try again in about 40 seconds." in await verify(ada, recording)
    assert await used(server, ada) == 0


async def test_shows_that_it_looks_and_can_be_stopped(
    server: Server, ada: Member, backend: MarkingScriptedBackend, recording: bytes
) -> None:
    async def hang() -> None:
        await asyncio.sleep(3_600)

    backend.on_search = hang
    working = await ada.begins("verify", audio=("it.wav", recording))
    assert "Looking for my mark…" in working.content
    stopped = await ada.presses(working, "Stop")
    assert stopped.told.startswith("Stopped, as you asked.")
    assert await used(server, ada) == pytest.approx(10.0), "the engine has begun"


async def test_counts_in_the_limits_before_anything_is_downloaded(
    tmp_path: Path, backend: MarkingScriptedBackend, recording: bytes
) -> None:
    async with open_server(tmp_path, backend, seconds_per_person=15) as server:
        ada = server.member("ada")
        assert await verify(ada, recording) == YES
        with server.attachments_expire():
            assert "you have 5 seconds left today" in await verify(ada, recording)


async def test_the_preview_says_that_it_marks_nothing(tmp_path: Path, recording: bytes) -> None:
    async with open_server(tmp_path, ScriptedBackend()) as server:
        ada = server.member("ada")
        with server.attachments_expire():
            assert await verify(ada, recording) == (
                "I can't tell here: this is the preview, which leaves no mark in its speech."
            )
        assert await used(server, ada) == 0


async def test_an_engine_that_clones_without_a_mark_says_so(
    tmp_path: Path, recording: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = ScriptedBackend()
    about = replace(backend.info(), clones=True)
    monkeypatch.setattr(backend, "info", lambda: about)
    async with open_server(tmp_path, backend) as server:
        assert await verify(server.member("ada"), recording) == (
            "I can't tell here, because the voice engine I speak with leaves no mark in its speech."
        )
