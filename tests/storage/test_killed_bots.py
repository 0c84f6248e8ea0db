"""Bots that are killed at any moment: what was said to be erased is in no file.

`TIMBRE_KILL_ROUNDS=50` kills them more often, in each of the four ways.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bot.audio.temporary import delete_leftovers
from bot.storage.database import open_database
from bot.storage.keys import read_keys
from bot.voices.library import VoiceLibrary
from tests.support.churning_bot import AT_ONCE

if TYPE_CHECKING:
    from asyncio.subprocess import Process

ROUNDS = int(os.environ.get("TIMBRE_KILL_ROUNDS", "0"))
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
OWNERS = (1_198_765_432_109_876_543, 1_298_765_432_109_876_543)
NAME = re.compile(rb"voice-\d+-\d+-\d+-")
GAP_BYTES = 4096
"""What fits into the gap between two rows. That goes when the bot is idle, or at the next start."""


def on_disk(folder: Path) -> bytes:
    return b"\0".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


def recordings(files: bytes) -> set[bytes]:
    """The names of the voices of which more is left than fits into a gap."""
    found = Counter(re.findall(rb"sound of (voice-\d+-\d+-\d+-)", files))
    return {name for name, times in found.items() if times * len(b"sound of " + name) > GAP_BYTES}


async def started(folder: Path, url: str, owner: int, keys: str) -> Process:
    bot = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.churning_bot", url, str(owner), keys),
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=PIPE,
    )
    assert bot.stdout is not None
    assert await bot.stdout.readline() == b"ready \n"
    return bot


async def killed(bots: list[Process]) -> tuple[set[bytes], set[bytes]]:
    """Kill the bots after a moment; return the names that were saved, and those erased."""
    await asyncio.sleep(random.uniform(0.1, 0.8))  # noqa: S311 - not a secret
    for bot in bots:
        bot.kill()
    told = b"".join([(await bot.communicate())[0] for bot in bots]).splitlines()
    saved = {line.split()[1] for line in told if line.startswith(b"saved") and line.endswith(b"-")}
    erased = {line.split()[1] for line in told if line.startswith(b"eras") and line.endswith(b"-")}
    return saved, erased


@pytest.mark.slow
@pytest.mark.realtime
@pytest.mark.parametrize("_round", range(ROUNDS or 1))
@pytest.mark.parametrize(
    ("processes", "keys"), [(1, ""), (2, KEY), *([(2, ""), (1, KEY)] if ROUNDS else [])]
)
async def test_what_was_said_to_be_erased_is_in_no_file(
    processes: int, keys: str, _round: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    url = f"sqlite:///{tmp_path}/data/voices.db"
    bots = [await started(tmp_path, url, owner, keys) for owner in OWNERS[:processes]]
    saved, erased = await killed(bots)

    left = on_disk(tmp_path / "data")
    assert recordings(left) & erased == set()
    if keys:
        assert b"sound of" not in left
        assert b"words of" not in left

    assert delete_leftovers() == processes, "the next start"
    database = await open_database(url, read_keys(keys))
    library = VoiceLibrary(database)
    kept = [voice for owner in OWNERS for voice in (await library.page(owner)).voices]
    assert recordings(on_disk(tmp_path / "data")) <= {voice.name.encode() for voice in kept}
    await database.remains_erased(at_once=True)
    for voice in kept:
        assert set(NAME.findall((await library.clip(voice)).flac)) == {voice.name.encode()}
    await database.close()

    left = on_disk(tmp_path)
    assert b"sound of a voice" not in left
    assert set(NAME.findall(left)) == {voice.name.encode() for voice in kept}
    assert not erased & {voice.name.encode() for voice in kept}
    assert len(kept) <= AT_ONCE * processes
    assert saved
