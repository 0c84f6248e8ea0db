"""Many people at once: each is served or refused, and nobody meets a locked database."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import delete, func, select, update

from backend.contract import VoicePrompt
from bot.errors import Reason, Refusal
from bot.storage.database import open_database
from bot.voices.library import VoiceLibrary
from bot.voices.records import SavedVoice
from bot.voices.tables import ConsentRow, VoiceRow
from tests.voices.people import ANA, MODEL, OTHER_MODEL, save, suggested

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable


async def outcomes(attempts: Iterable[Awaitable[SavedVoice]]) -> tuple[int, list[Reason]]:
    """How many were saved, and why the others were not. Anything but a refusal is raised."""
    results = await asyncio.gather(*attempts, return_exceptions=True)
    told = []
    for result in results:
        if isinstance(result, Refusal):
            told.append(result.reason)
        elif isinstance(result, BaseException):
            raise result
    return len(results) - len(told), told


@pytest.mark.slow
async def test_fifty_people_save_at_once(library: VoiceLibrary) -> None:
    saved, _ = await outcomes(save(library, ANA + n, "Me", bytes(500_000)) for n in range(50))

    assert saved == 50


async def test_of_fifty_saves_of_one_name_one_is_kept(library: VoiceLibrary) -> None:
    saved, told = await outcomes(save(library, ANA, "me" if n % 2 else "ME") for n in range(50))

    assert saved == 1
    assert set(told) == {Reason.NAME_TAKEN}
    assert (await library.page(ANA)).total == 1


async def test_the_limit_holds_for_saves_at_once(database_url: str) -> None:
    library = VoiceLibrary(await open_database(database_url), max_voices_per_user=10)
    saved, told = await outcomes(save(library, ANA, f"voice {n}") for n in range(50))

    assert (saved, len(told)) == (10, 40)
    assert (await library.page(ANA)).total == 10
    await library.close()


async def test_voices_that_share_a_consent_are_deleted_at_once_and_leave_none(
    library: VoiceLibrary,
) -> None:
    voices = [await save(library, ANA, f"voice {number}") for number in range(10)]
    async with library._database.write() as session:  # as bots of before 2026-12 did
        first = select(func.min(ConsentRow.id)).scalar_subquery()
        await session.execute(update(VoiceRow).values(consent_id=first))
        await session.execute(delete(ConsentRow).where(ConsentRow.id != first))

    await asyncio.gather(*map(library.delete, voices))

    assert not await library.keeps_anything_about(ANA)


@pytest.mark.slow
async def test_two_bots_share_one_database(database_url: str) -> None:
    bots = [VoiceLibrary(await open_database(database_url)) for _ in range(2)]

    async def live(n: int) -> SavedVoice:
        bot = bots[n % 2]
        voice = await save(bot, ANA + n, "Me", bytes(100_000))
        await bot.store_prompt(voice, VoicePrompt(b"small", OTHER_MODEL))
        await bot.defaults.touch(voice)
        await bot.rename(ANA + n, "me", "Myself")
        assert await suggested(bot, ANA + n, "my") == ["Myself"]
        await bot.delete(await bot.find(ANA + n, "myself"))
        return voice

    try:
        lived, _ = await outcomes(live(n) for n in range(30))
        assert lived == 30
    finally:
        for bot in bots:
            await bot.close()


async def test_one_prompt_made_twice_is_kept_once(library: VoiceLibrary) -> None:
    voice = await save(library, ANA, "Me")

    await asyncio.gather(
        *(library.store_prompt(voice, VoicePrompt(b"small", OTHER_MODEL)) for _ in range(20)),
    )

    assert (await library.find(ANA, "me")).prompt_models == (OTHER_MODEL, MODEL)


async def test_cancelled_calls_leave_everything_usable(library: VoiceLibrary) -> None:
    calls = [asyncio.ensure_future(save(library, ANA, f"voice {n}")) for n in range(30)]
    for number, call in enumerate(calls):
        await asyncio.sleep(0.0002 * number)
        call.cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)
    gc.collect()

    kept = {voice.name for voice in (await library.page(ANA, limit=50)).voices}
    answered = {result.name for result in results if isinstance(result, SavedVoice)}
    assert answered <= kept
    assert not [r for r in results if isinstance(r, Exception)]
    await save(library, ANA, "the next one")


async def test_a_cancelled_call_ends_before_the_database_closes(
    database_url: str,
) -> None:
    library = VoiceLibrary(await open_database(database_url))
    voice = await save(library, ANA, "Me")
    renaming = asyncio.ensure_future(library.rename(ANA, "Me", "Myself"))
    await asyncio.sleep(0)
    renaming.cancel()
    await library.close()

    library = VoiceLibrary(await open_database(database_url))
    assert (await library.find(ANA, "Myself")).id == voice.id
    await library.close()


async def test_closing_leaves_no_thread_behind(sqlite_url: str) -> None:
    library = VoiceLibrary(await open_database(sqlite_url))
    before = set(threading.enumerate())
    await outcomes(save(library, ANA + n, "Me") for n in range(20))
    await asyncio.gather(*(library.page(ANA + n) for n in range(20)))
    assert len(set(threading.enumerate()) - before) > 1

    await library.close()

    gc.collect()
    assert set(threading.enumerate()) <= before
