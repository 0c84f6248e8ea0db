"""`python -m bot api` and `api-key` as an operator types them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bot.api.keys import KeyRing
from bot.guilds.policy import Policy
from bot.settings import SettingsError
from bot.storage.database import open_database
from tests.support.api import ANA

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command_line import Run

KEY = "a-long-and-random-key-of-mine"


def test_keys_are_made_listed_and_revoked(run: Run) -> None:
    assert "There's no database" in run("api-key", "list").stderr
    made = run("api-key", "create", "--for", str(ANA), "--name", "laptop")
    key = made.stdout.splitlines()[-1]
    assert made.returncode == 0
    assert key.startswith("timbre_")
    listed = run("api-key", "list")
    assert f"“laptop” for {ANA}" in listed.stdout
    assert "never" in listed.stdout
    assert key not in listed.stdout
    assert run("api-key", "list", "--for", "7").stdout.startswith("There's no key.")
    assert run("api-key", "revoke", "1").returncode == 0
    again = run("api-key", "revoke", "1")
    assert (again.returncode, "There's no key 1." in again.stdout) == (1, True)
    for wrong in (["create"], ["create", "--for", "ana"], ["revoke", "-1"], ["revoke", "x"]):
        assert run("api-key", *wrong).returncode == 2


def test_keys_of_a_deployment_without_a_database_are_a_setting(run: Run) -> None:
    done = run("api-key", "create", "--for", "7", DATABASE_URL="none")
    assert done.returncode == 2
    assert "API_KEYS" in done.stderr


def test_without_a_key_the_api_does_not_start(run: Run) -> None:
    done = run("api", "--port", "0", SPEECH_BACKEND="preview")
    assert done.returncode == 2
    assert "python -m bot api-key create --for" in done.stderr
    assert "Traceback" not in done.stderr
    done = run("api", "--port", "0", SPEECH_BACKEND="preview", DATABASE_URL="none")
    assert done.returncode == 2
    assert "API_KEYS" in done.stderr
    assert "api-key create" not in done.stderr


def test_the_bot_does_not_run_without_a_database(run: Run) -> None:
    done = run("run", DISCORD_TOKEN="x", DATABASE_URL="none")  # noqa: S106 - it is none
    assert done.returncode == 2
    assert "needs a database" in done.stderr


def test_an_address_that_is_taken_is_a_sentence(run: Run) -> None:
    done = run("api", "--host", "192.0.2.1", API_KEYS=f"{KEY}:7")
    assert done.returncode == 2
    assert "192.0.2.1 port 8788" in done.stderr


async def test_keys_in_settings_are_read_and_never_shown(tmp_path: Path) -> None:
    database = await open_database(f"sqlite:///{tmp_path}/voices.db")
    stored = Policy(database).api_keys
    keys = KeyRing(f"{KEY}:7, {KEY}2:{2**63 - 1}", stored)
    assert await keys.any()
    assert [await keys.person_of(key) for key in (KEY, KEY + "2", KEY + "3")] == [
        7,
        2**63 - 1,
        None,
    ]
    assert not await KeyRing("", stored).any()
    for wrong in (KEY, f"{KEY}:", f"{KEY}:x", f"{KEY}:0", "short:7", f"{KEY}:{2**63}", f"7:{KEY}"):
        with pytest.raises(SettingsError, match="API_KEYS: entry 2") as error:
            KeyRing(f"{KEY}x:7 {wrong}", stored)
        assert KEY not in str(error.value)
    await database.close()
