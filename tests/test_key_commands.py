"""`python -m bot new-key` and `rotate-keys`, as an operator types them."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from bot import __main__ as command_line
from bot.storage.database import open_database
from bot.storage.keys import read_keys
from bot.voices.library import VoiceLibrary
from tests.voices.people import ANA, save

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]

CLIP = b"fLaC the sound of Ana" * 100
URL = "sqlite:///data/timbre.db"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in a folder of its own; returns its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ.keys() - {"PATH", "HOME"}:
        monkeypatch.delenv(name)

    def run(command: str, keys: str = "") -> tuple[int, str, str]:
        monkeypatch.setenv("STORAGE_KEYS", keys)
        returncode = command_line.main([command])
        return returncode, *capsys.readouterr()

    return run


async def stores(keys: str = "") -> None:
    library = VoiceLibrary(await open_database(URL, read_keys(keys)))
    await save(library, ANA, "Ana", CLIP)
    await library.close()


async def reads(keys: str) -> bytes:
    library = VoiceLibrary(await open_database(URL, read_keys(keys)))
    clip = await library.clip(await library.find(ANA, "Ana"))
    await library.close()
    return clip.flac


def test_from_no_key_to_one_to_another(run: Run, tmp_path: Path) -> None:
    asyncio.run(stores())
    first, second = (run("new-key")[1].strip() for _ in range(2))
    assert run("rotate-keys", first) == (
        0,
        "Everything is stored with the first key of STORAGE_KEYS now. Written again: 3.\n",
        "",
    )
    assert b"the sound of Ana" not in (tmp_path / "data" / "timbre.db").read_bytes()

    code, told, _ = run("rotate-keys", f"{second},{first}")
    assert (code, told.split(". ")[-1]) == (0, "Written again: 3.\n")
    assert asyncio.run(reads(second)) == CLIP
    code, _, refused = run("rotate-keys", first)
    assert code == command_line.USAGE_ERROR
    assert "Add that key to STORAGE_KEYS, then start again." in refused

    assert run("rotate-keys", f"plain,{second}")[1].startswith(
        "Everything is stored without encryption now."
    )
    assert asyncio.run(reads("")) == CLIP


def test_what_is_no_key_is_refused_and_not_shown(run: Run) -> None:
    code, told, refused = run("rotate-keys", "hunter2")
    assert (code, told) == (command_line.USAGE_ERROR, "")
    assert refused.startswith("STORAGE_KEYS: entry 1 isn't a key.")
    assert refused.endswith("Make one with: .venv/bin/python -m bot new-key\n")
    assert "hunter2" not in refused


def test_a_file_of_settings_that_others_can_read_is_warned_of(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".env").touch(mode=0o644)
    (tmp_path / ".env").chmod(0o644)
    assert "chmod 600 .env" in run("rotate-keys")[2]
    (tmp_path / ".env").chmod(0o600)
    assert run("rotate-keys")[2] == ""
