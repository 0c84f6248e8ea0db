from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bot.storage.database import open_database
from bot.voices.library import VoiceLibrary
from tests.voices.people import ANA, BEN, save, suggested

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.databases import Clock


@pytest.fixture
async def shelf(sqlite_url: str, clock: Clock) -> AsyncIterator[VoiceLibrary]:
    """Two hundred voices of one person, and one of another."""
    library = VoiceLibrary(
        await open_database(sqlite_url),
        max_voices_per_user=200,
        clock=clock,
    )
    for number in range(194):
        await save(library, ANA, f"Voice {number}")
    for name in ("50% robot", "_underscore", "Straße", "Back\\slash", "The Voice", "%"):
        await save(library, ANA, name)
    await save(library, BEN, "Voice of Ben")
    yield library
    await library.close()


async def test_suggestions_are_what_someone_typing_expects(shelf: VoiceLibrary) -> None:
    # Nothing typed yet: the newest, and no more than Discord shows.
    newest = await suggested(shelf, ANA, "")
    assert newest[:3] == ["%", "The Voice", "Back\\slash"]
    assert len(newest) == 25
    assert len(await suggested(shelf, ANA, "", limit=100)) == 25
    assert len(await suggested(shelf, ANA, "", limit=5)) == 5

    # A used voice comes first.
    await shelf.defaults.touch(await shelf.find(ANA, "voice 7"))
    assert (await suggested(shelf, ANA, ""))[:2] == ["Voice 7", "%"]

    # Names that begin so, before names that contain it.
    assert await suggested(shelf, ANA, "VOICE 19") == [
        "Voice 193",
        "Voice 192",
        "Voice 191",
        "Voice 190",
        "Voice 19",
    ]
    assert "The Voice" not in await suggested(shelf, ANA, "voice")
    assert await suggested(shelf, ANA, "e voice") == ["The Voice"]
    assert await suggested(shelf, ANA, "STRASS") == ["Straße"]

    # Someone else's are never among them.
    assert await suggested(shelf, BEN, "voice") == ["Voice of Ben"]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("%", ["%", "50% robot"]),
        ("_", ["_underscore"]),
        ("\\", ["Back\\slash"]),
        ("%o", []),
        ("' OR 1=1 --", []),
        ("half\ud800", []),
        ("nul\0l", []),
        ("x" * 6_000, []),
    ],
)
async def test_no_typed_character_is_special(
    library: VoiceLibrary,
    typed: str,
    offered: list[str],
) -> None:
    for name in ("Voice 1", "50% robot", "_underscore", "Back\\slash", "%"):
        await save(library, ANA, name)

    assert await suggested(library, ANA, typed) == offered
