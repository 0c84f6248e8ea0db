"""Only the user that the bot runs as can read a database's files."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from bot.storage.database import open_database
from bot.storage.location import DatabaseUnusableError
from bot.voices.library import VoiceLibrary
from tests.voices.people import ANA, save

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _careless() -> Iterator[None]:
    """As if the user let everybody read and write new files."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    """Who may do what with a folder, which is `.`, and with what is in it."""
    return {
        "." if each == folder else each.name: oct(stat.S_IMODE(each.stat().st_mode))
        for each in (folder, *folder.iterdir())
    }


async def opened(file: Path) -> dict[str, str]:
    """The modes while a bot uses the file and has written."""
    library = VoiceLibrary(await open_database(f"sqlite:///{file}"))
    await save(library, ANA, uuid4().hex)
    seen = modes(file.parent)
    await library.close()
    return seen


async def test_new_files_are_private(tmp_path: Path) -> None:
    assert await opened(tmp_path / "new" / "data" / "voices.db") == {
        ".": "0o700",
        "voices.db": "0o600",
        "voices.db-wal": "0o600",
        "voices.db-shm": "0o600",
    }


async def test_a_database_of_before_becomes_private(tmp_path: Path) -> None:
    file = tmp_path / "data" / "voices.db"
    await opened(file)
    other = VoiceLibrary(await open_database(f"sqlite:///{file}"))
    await save(other, ANA, "before")
    (file.parent / "weights").mkdir()
    for part in (file.parent, *file.parent.glob("voices*")):
        part.chmod(0o777)

    seen = await opened(file)

    await other.close()
    weights = seen.pop("weights")
    assert weights == "0o777"
    assert {name: mode for name, mode in seen.items() if mode not in {"0o600", "0o700"}} == {}


async def test_a_folder_with_other_things_in_it_is_only_warned_of(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").touch()
    os.chmod(tmp_path, 0o755)  # noqa: PTH101, S103 - blocks for no time
    with capture_logs() as logs:
        seen = await opened(tmp_path / "voices.db")

    assert (seen["."], seen["voices.db"]) == ("0o755", "0o600")
    [warning] = logs
    assert warning["event"] == "others on this machine can list the database's folder"


async def test_what_is_no_database_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("Not a database. " * 100)
    file.chmod(0o644)
    with pytest.raises(DatabaseUnusableError):
        await open_database(f"sqlite:///{file}")
    assert modes(tmp_path)["notes.txt"] == "0o644"
