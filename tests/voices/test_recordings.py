"""A voice gets another recording: what stays, what goes, and what comes too late for it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from backend.contract import VoicePrompt
from bot.errors import Reason
from bot.voices.consent import Permission, confirm
from bot.voices.records import SavedClip
from bot.voices.rights import Share
from bot.voices.tables import ConsentRow, VoiceRow
from tests.support.refusals import refused
from tests.voices.people import (
    ANA,
    BEN,
    GUILD,
    MODEL,
    OTHER_MODEL,
    consent_of,
    default_of,
    replace_recording,
    save,
)

if TYPE_CHECKING:
    from bot.voices.library import VoiceLibrary

LATER = confirm(Permission.GIVEN, by=ANA, at=datetime(2026, 12, 31, tzinfo=UTC))
NEW = VoicePrompt(b"other codes", MODEL)


async def consents(library: VoiceLibrary) -> int:
    async with library._database.read() as session:
        return await session.scalar(select(func.count()).select_from(ConsentRow)) or 0


async def test_all_of_the_recording_goes_and_all_that_was_chosen_stays(
    library: VoiceLibrary,
) -> None:
    before = await save(library, ANA, "Me")
    await library.set_speed(before, 1.5)
    share = Share.with_everyone(GUILD)
    await library.sharing.share(before, share, owner_name="ana")
    await library.store_prompt(before, VoicePrompt(b"codes", OTHER_MODEL))
    await library.note_loudness(before, MODEL, -30.0)

    after = await replace_recording(library, before, prompt=NEW, consent=LATER)

    assert after == await library.find(ANA, "me")
    assert after == replace(
        before,
        clip_seconds=7.5,
        transcript="Other words.",
        language="German",
        consent=LATER,
        speed=1.5,
        prompt_models=(MODEL,),
    )
    assert await library.clip(after) == SavedClip(b"fLaC other words", "Other words.")
    assert await library.prompt(after, MODEL) == NEW
    assert await library.loudness(after, MODEL) is None
    assert (await library.sharing.rights((after.id,)))[after.id].shares == {share}
    assert await consents(library) == 1
    assert await default_of(library, ANA) == after


async def test_what_was_made_of_the_earlier_recording_comes_too_late(
    library: VoiceLibrary,
) -> None:
    before = await save(library, ANA, "Me")
    after = await replace_recording(library, before, prompt=NEW, consent=LATER)

    assert await library.why_gone(before) is Reason.RECORDING_REPLACED
    assert await library.why_gone(after) is None
    assert await library.prompt(before, MODEL) is None
    with refused(Reason.RECORDING_REPLACED):
        await library.clip(before)
    assert not await library.store_prompt(before, VoicePrompt(b"codes", MODEL), "Old words.")
    await library.note_loudness(before, MODEL, -30.0)
    with refused(Reason.RECORDING_REPLACED):
        await library.correct_transcript(before, "Old words.", VoicePrompt(b"codes", MODEL))
    with refused(Reason.RECORDING_REPLACED):
        await replace_recording(library, before, consent=consent_of(ANA))

    assert await library.find(ANA, "Me") == after
    assert await library.prompt(after, MODEL) == NEW
    assert await library.loudness(after, MODEL) is None


async def test_only_an_owner_replaces_a_recording_that_is_there(library: VoiceLibrary) -> None:
    voice = await save(library, ANA, "Me")
    with refused(Reason.NO_SUCH_VOICE):
        await replace_recording(library, replace(voice, owner_id=BEN), consent=consent_of(BEN))
    with pytest.raises(ValueError, match="consent of the voice's owner"):
        await replace_recording(library, voice, consent=consent_of(BEN))
    assert await library.find(ANA, "Me") == voice
    await library.delete(voice)
    with refused(Reason.NO_SUCH_VOICE):
        await replace_recording(library, voice, consent=LATER)
    assert await consents(library) == 0


async def test_a_consent_that_voices_shared_stays_for_the_other(library: VoiceLibrary) -> None:
    one, other = await save(library, ANA, "One"), await save(library, ANA, "Other")
    async with library._database.write() as session:  # as before 2026-12
        [first, second] = await session.scalars(select(VoiceRow).order_by(VoiceRow.id))
        second.consent_id = first.consent_id
    after = await replace_recording(library, one, consent=LATER)
    assert after.consent == LATER
    assert (await library.find(ANA, "Other")).consent == other.consent
    assert await consents(library) == 3, "one of them was left by this test"


async def test_of_many_replacements_at_once_one_is_done(library: VoiceLibrary) -> None:
    voice = await save(library, ANA, "Me")
    moments = [datetime(2027, 1, 1, 0, minute, tzinfo=UTC) for minute in range(10)]
    results = await asyncio.gather(
        *(
            replace_recording(library, voice, consent=confirm(Permission.OWN, by=ANA, at=at))
            for at in moments
        ),
        return_exceptions=True,
    )
    done = [each for each in results if not isinstance(each, BaseException)]
    assert done == [await library.find(ANA, "Me")]
    assert await consents(library) == 1
