"""What is deleted leaves the disk, not only the tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from backend.contract import VoicePrompt
from bot.storage.database import open_database
from bot.voices.consent import Permission, confirm
from bot.voices.library import VoiceLibrary
from tests.voices.people import ANA, BEN, GUILD, MODEL, consent_of, replace_recording, save

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CLIP = b"the sound of Ana"
PROMPT = b"the codes of Ana"
NAME = "Ana im Radio"
TRANSCRIPT = "what Ana said"
TRACES = (CLIP, PROMPT, NAME.encode(), TRANSCRIPT.encode())


@pytest.fixture
async def library(sqlite_url: str) -> AsyncIterator[VoiceLibrary]:
    """Ana's voice, long enough for many pages of the file, between two of Ben's."""
    library = VoiceLibrary(await open_database(sqlite_url))
    await save(library, BEN, "before", b"the sound of Ben" * 5_000)
    await library.save(
        ANA,
        NAME,
        clip_flac=CLIP * 20_000,
        clip_seconds=12.5,
        transcript=TRANSCRIPT,
        language=None,
        prompt=VoicePrompt(PROMPT * 500, MODEL),
        consent=consent_of(ANA),
        guild_id=GUILD,
    )
    await save(library, BEN, "after", b"the sound of Ben" * 5_000)
    yield library
    await library.close()


def on_disk(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in (folder / "data").iterdir())


async def test_a_deleted_voice_is_gone_from_every_file(
    library: VoiceLibrary,
    tmp_path: Path,
) -> None:
    assert all(trace in on_disk(tmp_path) for trace in TRACES)

    await library.delete(await library.find(ANA, NAME))

    assert [trace for trace in TRACES if trace in on_disk(tmp_path)] == []
    assert b"the sound of Ben" in on_disk(tmp_path)


async def test_a_replaced_recording_is_gone_from_every_file(
    library: VoiceLibrary,
    tmp_path: Path,
) -> None:
    consent = confirm(Permission.OWN, by=ANA, at=datetime.now(UTC))
    await replace_recording(library, await library.find(ANA, NAME), consent=consent)

    assert [trace for trace in TRACES if trace in on_disk(tmp_path)] == [NAME.encode()]
    assert b"fLaC other words" in on_disk(tmp_path)
    assert b"the sound of Ben" in on_disk(tmp_path)


async def test_a_forgotten_person_is_gone_from_every_file(
    library: VoiceLibrary,
    tmp_path: Path,
) -> None:
    person = ANA.to_bytes(8, "big")  # as SQLite stores a large number
    assert person in on_disk(tmp_path)

    await library.forget(ANA)

    assert [trace for trace in (*TRACES, person) if trace in on_disk(tmp_path)] == []
    assert (await library.page(BEN)).total == 2


async def test_a_voice_deleted_while_others_are_read_is_gone_too(
    library: VoiceLibrary,
    sqlite_url: str,
    tmp_path: Path,
) -> None:
    reader = VoiceLibrary(await open_database(sqlite_url))
    assert (await reader.page(BEN)).total == 2

    await library.delete(await library.find(ANA, NAME))

    assert [trace for trace in TRACES if trace in on_disk(tmp_path)] == []
    await reader.close()
