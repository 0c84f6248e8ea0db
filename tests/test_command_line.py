"""`python -m bot` as an operator types it: an expected failure is one sentence and exit code 2."""

from __future__ import annotations

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
from bot.client import create_bot
from bot.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[1]


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(  # noqa: S603 - our own command line
        [sys.executable, "-m", "bot", *arguments],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", ["run", "sync"])
def test_without_a_token_says_where_to_put_one(tmp_path: Path, command: str) -> None:
    done = run(tmp_path, command)
    assert done.returncode == 2
    assert done.stderr.startswith("There is no Discord token. Put DISCORD_TOKEN=")
    assert len(done.stderr.splitlines()) == 1


def test_a_bad_setting_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "run", LOG_LEVEL="LOUD")
    assert done.returncode == 2
    assert "LOG_LEVEL" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_recording_is_a_sentence(tmp_path: Path) -> None:
    done = run(tmp_path, "demo", "--once", "missing.wav", "Hello.")
    assert done.returncode == 2
    assert done.stderr == "missing.wav cannot be read: No such file or directory.\n"


def answer(body: object, status: int = 200) -> web.Response:
    """JSON with the very content type that discord.py looks for."""
    return web.Response(
        body=json.dumps(body).encode(), status=status, content_type="application/json"
    )


class TestAgainstDiscordsApi:
    """Discord's HTTP API, as far as a login needs it, on the loopback address."""

    @pytest.fixture
    async def api(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[dict[str, object]]]:
        published: list[dict[str, object]] = []

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
            body = [
                {**command, "id": str(number), "application_id": "1", "version": "1"}
                for number, command in enumerate(published, start=1)
            ]
            return answer(body)

        app = web.Application()
        app.router.add_get("/users/@me", me)
        app.router.add_get("/oauth2/applications/@me", application)
        app.router.add_put("/applications/1/commands", commands)
        app.router.add_put("/applications/1/guilds/77/commands", commands)
        async with TestServer(app) as server:
            monkeypatch.setattr(discord.http.Route, "BASE", str(server.make_url("")).rstrip("/"))
            yield published

    async def test_a_wrong_token_is_refused(
        self, api: list[dict[str, object]], tmp_path: Path
    ) -> None:
        settings = Settings(_env_file=None, database_url=f"sqlite:///{tmp_path}/t.db")
        async with create_bot(settings, serving=False) as bot:
            with pytest.raises(discord.LoginFailure):
                await bot.publish_commands("wrong", guild_id=None)
        assert api == []

    @pytest.mark.parametrize("guild_id", [None, 77])
    async def test_sync_publishes_every_command(
        self, api: list[dict[str, object]], tmp_path: Path, guild_id: int | None
    ) -> None:
        settings = Settings(_env_file=None, database_url=f"sqlite:///{tmp_path}/t.db")
        async with create_bot(settings, serving=False) as bot:
            names = await bot.publish_commands("right", guild_id=guild_id)
        assert sorted(names) == ["/clone", "/forget", "/help", "/say", "/voice"]
        assert {f"/{command['name']}" for command in api} == set(names)
        assert not (tmp_path / "t.db").exists(), "publishing opens no database"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (discord.LoginFailure("401"), "Discord refused the token."),
        (aiohttp.ClientConnectionError(), "Discord cannot be reached."),
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
    assert capsys.readouterr().err.startswith(sentence)
