"""A deletion while another program reads the database: the person is told, and it is finished."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from bot.interface.cards import LAST_COPIES
from bot.storage import remains
from tests.support.discord_server import open_server
from tests.support.voice_guild import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.discord_server import Member, Server
    from tests.support.scripted_backend import ScriptedBackend


@pytest.fixture
async def server(tmp_path: Path, backend: ScriptedBackend) -> AsyncIterator[Server]:
    """A bot whose database is in the folder."""
    async with open_server(tmp_path, backend) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remains, "TRIES_TO_EMPTY_LOG", 3)
    monkeypatch.setattr(remains, "SECONDS_BETWEEN_LATER_TRIES", 0.05)
    monkeypatch.setattr(remains, "IDLE_SECONDS", 0.0)


@pytest.mark.parametrize(
    ("command", "options"), [("voice delete", {"voice": "ada's voice"}), ("forget", {})]
)
@pytest.mark.parametrize("restarts", [False, True])
async def test_the_last_copies_go_by_themselves(
    server: Server,
    ada: Member,
    tmp_path: Path,
    command: str,
    options: dict[str, str],
    restarts: bool,
) -> None:
    await ada.saves_voice(name="Ada's voice")
    asked = await ada.types(command, **options)
    with closing(sqlite3.connect(tmp_path / "timbre.db", isolation_level=None)) as backup:
        backup.execute("BEGIN")
        backup.execute("SELECT count(*) FROM voices").fetchall()
        await ada.presses(asked.private, "Delete")
        if restarts:
            await server.restarts()

    def is_gone() -> bool:
        return not any(b"Ada's voice" in file.read_bytes() for file in tmp_path.glob("timbre.db*"))

    assert asked.told.startswith("Deleted ")
    assert asked.told.endswith(f". {LAST_COPIES}")
    await eventually(is_gone)
