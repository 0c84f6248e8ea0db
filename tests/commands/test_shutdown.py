"""The bot stops within eight seconds, whatever hangs, and tells those who wait."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import discord
import pytest

from bot.speech.worker.host import WorkerBackend
from tests.support.discord_server import open_server
from tests.support.hanging_model import Accidents, loader
from tests.support.marked_speech import MarkedBackend
from tests.support.scripted_backend import ScriptedBackend
from tests.support.voice_guild import eventually, open_voice
from tests.support.voice_words import waits_for

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from tests.support.discord_server import Member, Server

STOPS_WITHIN_SECONDS = 8.0
RESTARTING = "I have to restart now."
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.realtime


def is_there(process: BaseProcess) -> bool:
    return Path(f"/proc/{process.pid}").exists()


async def hangs(*_arguments: object, **_options: object) -> Any:
    await asyncio.sleep(3_600)


class StubbornBackend(ScriptedBackend):
    """Neither stops when it is told to, nor closes."""

    def __init__(self) -> None:
        super().__init__()
        self.is_stuck = True

    async def speak(self, request: Any) -> Any:
        while self.is_stuck:
            try:
                await asyncio.sleep(0.1)
            except asyncio.CancelledError:
                continue
        async for chunk in super().speak(request):
            yield chunk

    async def close(self) -> None:
        if self.is_stuck:
            await hangs()


async def test_a_backend_that_hangs_delays_nothing(tmp_path: Path) -> None:
    backend = StubbornBackend()
    backend.is_stuck = False
    async with open_server(tmp_path, backend) as server:
        ada = server.member("ada")
        await ada.saves_voice()
        server.in_real_time()
        backend.is_stuck = True
        answer = await ada.types("say", text="Hello there.")
        await eventually(lambda: "Speaking" in answer.told)
        began = time.monotonic()
        await server.bot.close()
        assert time.monotonic() - began < STOPS_WITHIN_SECONDS
        assert answer.told.startswith(RESTARTING)
        backend.is_stuck = False


@pytest.mark.parametrize("way", ["stopped", "locked"])
async def test_a_voice_engine_that_hangs_on_this_machine_delays_nothing(
    tmp_path: Path, way: str
) -> None:
    others = set(multiprocessing.active_children())
    accidents = Accidents(tmp_path)
    accidents.allow(1)
    async with open_server(tmp_path, WorkerBackend(loader(tmp_path))) as server:
        ada = server.member("ada")
        await ada.saves_voice()
        server.in_real_time()
        answer = await ada.types("say", text=f"I am {way} at first.")
        await eventually(lambda: "Speaking" in answer.told)
        [process] = set(multiprocessing.active_children()) - others
        began = time.monotonic()
        await server.bot.close()
        assert time.monotonic() - began < STOPS_WITHIN_SECONDS
        assert answer.told.startswith(RESTARTING)
    assert not is_there(process), "not even as a zombie"


async def test_a_discord_that_does_not_answer_delays_nothing(
    server: Server,
    ada: Member,
    backend: ScriptedBackend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await ada.saves_voice()
    server.in_real_time()
    backend.on_speak = hangs
    answer = await ada.types("say", text="Hello there.")
    await eventually(lambda: "Speaking" in answer.told)
    with monkeypatch.context() as patched:
        patched.setattr(discord.Interaction, "edit_original_response", hangs)
        began = time.monotonic()
        await server.bot.close()
    assert time.monotonic() - began < STOPS_WITHIN_SECONDS
    assert backend.closed


async def test_a_voice_channel_that_cannot_be_left_delays_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_server(tmp_path, MarkedBackend()) as server, open_voice(server) as world:
        guild = world.guilds[0]
        ada, grace = [await guild.speaker(name) for name in ("ada", "grace")]
        answers = [await ada.says(0, 9.0)]
        await guild.call.begins()
        answers.append(await grace.says(1, 9.0))
        await waits_for(answers[1], "in the queue")
        with monkeypatch.context() as patched:
            patched.setattr(discord.Guild, "change_voice_state", hangs)
            began = time.monotonic()
            await server.bot.close()
        assert time.monotonic() - began < STOPS_WITHIN_SECONDS
        for answer in answers:
            assert answer.told.startswith(RESTARTING)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
@pytest.mark.parametrize("how", ["orderly", "hanging"])
async def test_a_process_that_is_told_to_stop_ends_in_time(tmp_path: Path, how: str) -> None:
    """A container's process gets SIGTERM, and is killed ten seconds later."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.bot_process", how),
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DISCORD_TOKEN": "simulated",
            "DATABASE_URL": "sqlite:///timbre.db",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        assert await process.stdout.readline() == b"SPEAKING\n"
        began = time.monotonic()
        process.terminate()
        written, logged = await process.communicate()
    assert time.monotonic() - began < STOPS_WITHIN_SECONDS
    assert process.returncode == 0, logged.decode()
    outcome = json.loads(written)
    for told in outcome["told"]:
        assert told.startswith(RESTARTING)
    assert len(outcome["told"]) == 2
    assert outcome["has_left"]
    assert "error" not in logged.decode()
    assert not (tmp_path / "timbre.db-wal").exists(), "the database was closed"


async def test_a_command_that_comes_too_late_is_refused(
    server: Server, ada: Member, backend: ScriptedBackend
) -> None:
    await ada.saves_voice()
    server.in_real_time()
    backend.on_speak = hangs
    await ada.types("say", text="Hello there.")
    closing = asyncio.create_task(server.bot.close())
    await asyncio.sleep(0)
    late = await ada.types("voice list")
    await eventually(lambda: late.told.startswith(RESTARTING))
    await closing
