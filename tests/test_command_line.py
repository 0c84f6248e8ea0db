"""`python -m bot` as an operator types it: an expected failure is one sentence and exit code 2."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import discord
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot import __main__ as command_line
from bot.client import VoiceBot
from bot.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.command_line import Run

ROOT = Path(__file__).parents[1]
EVERY_COMMAND = [
    "/clone",
    "/dictionary",
    "/forget",
    "/help",
    "/join",
    "/leave",
    "/moderation",
    "/privacy",
    "/queue",
    "/report",
    "/say",
    "/settings",
    "/skip",
    "/stop",
    "/usage",
    "/verify",
    "/voice",
    "/warm",
    "Clone this voice",
    "Report this speech",
    "Speak this message",
]


@pytest.mark.slow
def test_a_program_of_its_own_says_where_to_put_a_token(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bot", "run"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("There's no Discord token. Put DISCORD_TOKEN=")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["run", "sync"])
def test_without_a_token_says_where_to_put_one(run: Run, command: str) -> None:
    done = run(command)
    assert done.returncode == 2
    assert done.stderr.startswith("There's no Discord token. Put DISCORD_TOKEN=")
    assert len(done.stderr.splitlines()) == 1


def test_a_bad_setting_is_named(run: Run) -> None:
    done = run("run", LOG_LEVEL="LOUD")
    assert done.returncode == 2
    assert "LOG_LEVEL" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_port_that_is_none_is_refused_at_once(run: Run) -> None:
    done = run("demo", "--port", "65535")
    assert done.returncode == 2
    assert "a port is a number from 0 to 65534" in done.stderr


def test_an_unreadable_settings_file_is_a_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DISCORD_TOKEN=x", encoding="utf-16")
    done = run("run")
    assert done.returncode == 2
    assert done.stderr == "The file .env isn't UTF-8 text. Save it again as UTF-8.\n"


def test_an_unusable_database_is_told_before_the_login(run: Run) -> None:
    done = run("run", DISCORD_TOKEN="x", DATABASE_URL="mysql://localhost/timbre")  # noqa: S106 - none
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("Databases of the kind mysql aren't supported.")


def test_a_missing_folder_for_the_speech_is_told_before_the_work(run: Run) -> None:
    done = run("demo", "--once", "a.wav", "Hello.", "--out", "nowhere/speech.ogg")
    assert done.returncode == 2
    assert done.stderr.startswith("The folder of nowhere/speech.ogg doesn't exist.")


def test_a_missing_recording_is_a_sentence(run: Run) -> None:
    done = run("demo", "--once", "missing.wav", "Hello.")
    assert done.returncode == 2
    assert done.stderr == "missing.wav can't be read: No such file or directory.\n"


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("out.mp3", "Name a file that ends in .ogg, .oga or .opus, not out.mp3."),
        ("out.wav", "Name a file that ends in .ogg, .oga or .opus, not out.wav."),
        ("out", "Name a file that ends in .ogg, .oga or .opus, not out."),
        (".", ". is a folder. Name a file in it, such as speech.ogg."),
        ("folder", "folder is a folder. Name a file in it, such as folder/speech.ogg."),
        ("folder.ogg", "folder.ogg is a folder. Name a file in it, such as folder.ogg/speech.ogg."),
        ("a.wav/speech.ogg", "The folder of a.wav/speech.ogg doesn't exist."),
        (f"{'x' * 300}.ogg", "can't be written: File name too long. Name another file."),
    ],
)
def test_a_file_that_cannot_be_written_is_told_before_the_work(
    run: Run, tmp_path: Path, out: str, said: str
) -> None:
    for folder in ("folder", "folder.ogg"):
        (tmp_path / folder).mkdir()
    (tmp_path / "a.wav").write_bytes(b"a recording")
    before = sorted(tmp_path.iterdir())
    done = run("demo", "--once", "a.wav", "Hello.", "--out", out)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_what_was_in_the_file_stays_if_nothing_is_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / "speech.OGG").write_bytes(b"what I said before")
    done = run("demo", "--once", "missing.wav", "Hello.", "--out", "speech.OGG")
    assert done.returncode == 2
    assert done.stderr.startswith("missing.wav can't be read")
    assert (tmp_path / "speech.OGG").read_bytes() == b"what I said before"


@pytest.mark.parametrize("recording", [".", "folder"])
def test_a_folder_is_no_recording(run: Run, tmp_path: Path, recording: str) -> None:
    (tmp_path / "folder").mkdir()
    done = run("demo", "--once", recording, "Hello.")
    assert done.returncode == 2
    assert done.stderr == f"{recording} can't be read: Is a directory.\n"


@pytest.mark.parametrize("text", ["", " ", "\n\t", "word " * 1_001, "x" * 5_001])
def test_a_text_that_is_empty_or_too_long_is_a_sentence(run: Run, text: str) -> None:
    done = run("demo", "--once", "a.wav", text)
    assert done.returncode == 2
    assert done.stderr == "Write what the voice should say, in at most 5,000 characters.\n"


def answer(body: object, status: int = 200) -> web.Response:
    """JSON with the very content type that discord.py looks for."""
    return web.Response(
        body=json.dumps(body).encode(), status=status, content_type="application/json"
    )


class TestAgainstDiscordsApi:
    """Discord's HTTP API, as far as a login needs it, on the loopback address."""

    @pytest.fixture
    def connecting(self) -> asyncio.Event:
        """Set when a bot has logged in and asks for the gateway, which never answers."""
        return asyncio.Event()

    @pytest.fixture
    def api(self) -> list[dict[str, object]]:
        """The commands that were published."""
        return []

    @pytest.fixture(autouse=True)
    async def address(
        self,
        api: list[dict[str, object]],
        connecting: asyncio.Event,
        monkeypatch: pytest.MonkeyPatch,
    ) -> AsyncIterator[str]:
        published = api

        async def me(request: web.Request) -> web.Response:
            if request.headers["Authorization"] != "Bot right":
                return answer({"message": "401: Unauthorized", "code": 0}, status=401)
            user = {"id": "1", "username": "Timbre", "discriminator": "0", "avatar": None}
            return answer(user)

        async def application(_request: web.Request) -> web.Response:
            about: dict[str, object] = {
                "id": "1",
                "name": "Timbre",
                "description": "",
                "rpc_origins": [],
                "icon": None,
            }
            return answer(
                {
                    **about,
                    "bot_public": True,
                    "bot_require_code_grant": False,
                    "verify_key": "",
                    "owner": {"id": "2", "username": "o", "discriminator": "0", "avatar": None},
                    "team": None,
                    "flags": 0,
                }
            )

        async def commands(request: web.Request) -> web.Response:
            published.extend(await request.json())
            about = {"description": "", "application_id": "1", "version": "1"}
            body = [
                {**about, **command, "id": str(number)}
                for number, command in enumerate(published, start=1)
            ]
            return answer(body)

        async def missing_access(_request: web.Request) -> web.Response:
            return answer({"message": "Missing Access", "code": 50001}, status=403)

        async def gateway(_request: web.Request) -> web.Response:
            connecting.set()
            await asyncio.sleep(60)
            return answer({})

        app = web.Application()
        app.router.add_get("/gateway/bot", gateway)
        app.router.add_get("/users/@me", me)
        app.router.add_get("/oauth2/applications/@me", application)
        app.router.add_put("/applications/1/commands", commands)
        app.router.add_put("/applications/1/guilds/77/commands", commands)
        app.router.add_put("/applications/1/guilds/404/commands", missing_access)
        async with TestServer(app) as server:
            base = str(server.make_url("")).rstrip("/")
            monkeypatch.setattr(discord.http.Route, "BASE", base)
            yield base

    async def test_a_server_without_the_bot_is_a_sentence(
        self,
        api: list[dict[str, object]],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("DISCORD_TOKEN", "right")
        done = await asyncio.to_thread(command_line.main, ["sync", "--guild", "404"])
        assert done == 2
        assert "Discord didn't accept the commands for that server." in capsys.readouterr().err
        assert api == []

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--guild", "77"], "Published /clone, /say, "),
            (["--guild", "77", "--remove"], "Removed the commands from server 77."),
            (["--remove"], "Removed the commands from every server."),
        ],
    )
    async def test_sync_says_what_it_did(
        self,
        arguments: list[str],
        said: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("DISCORD_TOKEN", "right")
        assert await asyncio.to_thread(command_line.main, ["sync", *arguments]) == 0
        assert capsys.readouterr().out.startswith(said)

    async def test_a_polite_kill_closes_everything(
        self, address: str, connecting: asyncio.Event, tmp_path: Path
    ) -> None:
        code = (
            "import sys, discord\n"
            f"discord.http.Route.BASE = {address!r}\n"
            "from bot.__main__ import main\n"
            "sys.exit(main(['run']))"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            code,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "DISCORD_TOKEN": "right"},
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            await connecting.wait()
            process.terminate()
            _, logged = await process.communicate()
        assert process.returncode == 0, logged.decode()
        assert "stopped" in logged.decode().splitlines()[-1]
        assert "error" not in logged.decode()
        assert not (tmp_path / "data/timbre.db-wal").exists(), "the database was closed"

    async def test_a_wrong_token_is_refused(
        self, api: list[dict[str, object]], tmp_path: Path
    ) -> None:
        settings = Settings(_env_file=None, database_url=f"sqlite:///{tmp_path}/t.db")
        async with VoiceBot(settings) as bot:
            with pytest.raises(discord.LoginFailure):
                await bot.publish_commands("wrong", guild_id=None)
        assert api == []

    @pytest.mark.parametrize("guild_id", [None, 77])
    async def test_sync_publishes_every_command(
        self, api: list[dict[str, object]], tmp_path: Path, guild_id: int | None
    ) -> None:
        settings = Settings(_env_file=None, database_url=f"sqlite:///{tmp_path}/t.db")
        async with VoiceBot(settings) as bot:
            names = await bot.publish_commands("right", guild_id=guild_id)
        assert sorted(names) == EVERY_COMMAND
        assert {command["name"] for command in api} == {name.removeprefix("/") for name in names}
        assert not (tmp_path / "t.db").exists(), "publishing opens no database"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (discord.LoginFailure("401"), "Discord refused the token."),
        (aiohttp.ClientConnectionError(), "Discord can't be reached."),
    ],
)
def test_a_login_that_fails_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    error: Exception,
    sentence: str,
) -> None:
    async def fail(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISCORD_TOKEN", "wrong")
    monkeypatch.setattr(discord.Client, "login", fail)
    assert command_line.main(["run"]) == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith(sentence)
    assert "Traceback" not in said
