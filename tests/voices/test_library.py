from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.contract import ConsentRecord, VoicePrompt
from bot.errors import Reason, Refusal
from bot.storage.database import open_database
from bot.voices.consent import STATEMENTS, Permission, confirm
from bot.voices.library import VoiceLibrary
from bot.voices.names import clean_voice_name
from bot.voices.records import SavedClip
from tests.support.refusals import refused
from tests.voices.people import (
    ANA,
    BEN,
    MODEL,
    OTHER_MODEL,
    consent_of,
    default_of,
    save,
    suggested,
)


async def test_everything_about_a_voice_survives_a_restart(database_url: str) -> None:
    noon_in_tokyo = datetime(2026, 11, 1, 12, 0, 0, 123456, timezone(timedelta(hours=9)))
    before = VoiceLibrary(await open_database(database_url), clock=lambda: noon_in_tokyo)
    clip = bytes(range(256)) * 4_000
    consent = ConsentRecord(ANA, noon_in_tokyo, Permission.GIVEN.statement_version)
    saved = await save(before, ANA, "Grandma", clip, consent=consent)
    await before.defaults.touch(saved)
    await before.close()

    after = VoiceLibrary(await open_database(database_url))
    found = await after.find(ANA, "grandma")
    try:
        assert found.name == "Grandma"
        assert (found.id, found.owner_id) == (saved.id, ANA)
        assert (found.clip_seconds, found.language) == (12.5, "English")
        assert found.transcript == "The quick brown fox."
        assert found.prompt_models == (MODEL,)
        assert found.created_at == found.last_used_at == noon_in_tokyo
        assert found.created_at.tzinfo is UTC
        assert found.consent == consent
        assert await after.clip(found) == SavedClip(clip, "The quick brown fox.")
        assert await after.prompt(found, MODEL) == VoicePrompt(b"codes and an embedding", MODEL)
    finally:
        await after.close()


async def test_saving_returns_what_finding_returns(library: VoiceLibrary) -> None:
    saved = await save(library, ANA, "  Grandma ")

    assert saved == await library.find(ANA, "Grandma")


async def test_a_voice_needs_no_transcript_and_no_language(library: VoiceLibrary) -> None:
    prompt = VoicePrompt(b"codes", MODEL)
    await library.save(
        ANA,
        "Grandma",
        clip_flac=b"fLaC",
        clip_seconds=3.0,
        transcript=None,
        language=None,
        prompt=prompt,
        consent=consent_of(ANA),
        guild_id=None,
    )

    found = await library.find(ANA, "Grandma")
    assert (found.transcript, found.language, found.last_used_at) == (None, None, None)


async def test_a_voice_is_saved_with_its_owners_consent_alone(library: VoiceLibrary) -> None:
    with pytest.raises(ValueError, match="consent of its owner"):
        await save(library, ANA, "Ben", consent=consent_of(BEN))
    assert (await library.page(ANA)).total == 0
    assert not await library.keeps_anything_about(ANA)


def test_a_statement_that_was_confirmed_is_never_changed() -> None:
    """To change one, add another with a version of its own."""
    wordings = {
        version: hashlib.sha256(statement.encode()).hexdigest()[:8]
        for version, statement in STATEMENTS.items()
    }
    assert wordings == {
        "2026-11": "9936d972",
        "2026-12 own voice": "26adda90",
        "2026-12 with permission": "59adb341",
        "2026-12 own voice, spoken": "bb32bb9a",
        "2026-12 with permission, spoken": "690c9a5a",
    }
    now = {
        version for each in Permission for version in (each.statement_version, each.spoken_version)
    }
    assert now <= wordings.keys()
    assert all(len(version) <= 32 for version in wordings), "as the database has room"


@pytest.mark.parametrize("again", ["STRASSE", "strasse", "ｓｔｒａßｅ", " Straße "])
async def test_a_name_is_taken_in_every_spelling(library: VoiceLibrary, again: str) -> None:
    await save(library, ANA, "Straße")

    with refused(Reason.NAME_TAKEN):
        await library.check_can_save(ANA, again)
    with refused(Reason.NAME_TAKEN):
        await save(library, ANA, again)
    assert (await library.find(ANA, again)).name == "Straße"
    assert (await library.page(ANA)).total == 1


async def test_the_name_is_checked_before_any_work_is_done(library: VoiceLibrary) -> None:
    assert await library.check_can_save(ANA, "  Grandma ") == "Grandma"
    with refused(Reason.NAME_TOO_LONG, limit=32):
        await library.check_can_save(ANA, "x" * 33)


async def test_the_limit_leaves_room_again_after_a_voice_is_deleted(database_url: str) -> None:
    library = VoiceLibrary(await open_database(database_url), max_voices_per_user=2)
    try:
        await save(library, ANA, "one")
        await save(library, ANA, "two")

        with refused(Reason.TOO_MANY_VOICES, limit=2):
            await library.check_can_save(ANA, "three")
        with refused(Reason.TOO_MANY_VOICES, limit=2):
            await save(library, ANA, "three")
        await save(library, BEN, "three")

        await library.delete(await library.find(ANA, "one"))
        await save(library, ANA, "three")
    finally:
        await library.close()


@pytest.mark.parametrize("name", ["nobody", "", "half\ud800", "nul\0l", "x" * 6_000, "'; --"])
async def test_an_unknown_voice_is_refused(
    library: VoiceLibrary,
    name: str,
) -> None:
    with refused(Reason.NO_SUCH_VOICE):
        await library.find(ANA, name)


async def test_the_default_voice_is_the_last_used_or_else_the_newest(library: VoiceLibrary) -> None:
    assert await default_of(library, ANA) is None

    first = await save(library, ANA, "first")
    second = await save(library, ANA, "second")
    assert await default_of(library, ANA) == second

    await library.defaults.touch(second)
    await library.defaults.touch(first)
    default = await default_of(library, ANA)
    assert default is not None
    assert default.name == "first"


async def test_pages_hold_every_voice_once_recent_first(library: VoiceLibrary) -> None:
    for number in range(7):
        await save(library, ANA, f"voice {number}")
    await library.defaults.touch(await library.find(ANA, "voice 2"))

    pages = [await library.page(ANA, offset=offset, limit=3) for offset in (0, 3, 6, 9)]

    assert [page.total for page in pages] == [7, 7, 7, 7]
    assert [voice.name[-1] for page in pages for voice in page.voices] == list("2654310")


async def test_a_new_prompt_replaces_only_that_models(library: VoiceLibrary) -> None:
    voice = await save(library, ANA, "Grandma")
    assert await library.prompt(voice, OTHER_MODEL) is None

    await library.store_prompt(voice, VoicePrompt(b"small", OTHER_MODEL))
    await library.store_prompt(voice, VoicePrompt(b"newer", MODEL))

    assert await library.prompt(voice, OTHER_MODEL) == VoicePrompt(b"small", OTHER_MODEL)
    assert await library.prompt(voice, MODEL) == VoicePrompt(b"newer", MODEL)
    assert (await library.find(ANA, "Grandma")).prompt_models == (OTHER_MODEL, MODEL)


async def test_what_was_heard_later_fills_in_a_missing_transcript(library: VoiceLibrary) -> None:
    known = await save(library, ANA, "Grandma")
    unknown = await save(library, ANA, "Grandpa", transcript=None)

    for voice in (known, unknown):
        await library.store_prompt(voice, VoicePrompt(b"newer", MODEL), "What was heard.")

    assert (await library.clip(known)).transcript == known.transcript
    assert (await library.clip(unknown)).transcript == "What was heard."


async def test_a_corrected_transcript_leaves_no_prompt_made_with_the_old_one(
    library: VoiceLibrary,
) -> None:
    voice = await save(library, ANA, "Grandma")
    await library.store_prompt(voice, VoicePrompt(b"old", OTHER_MODEL))

    await library.correct_transcript(voice, "What is said.", VoicePrompt(b"new", MODEL))

    assert (await library.clip(voice)).transcript == "What is said."
    assert await library.prompt(voice, MODEL) == VoicePrompt(b"new", MODEL)
    assert await library.prompt(voice, OTHER_MODEL) is None


async def test_renaming_keeps_the_voice_and_frees_the_name(library: VoiceLibrary) -> None:
    voice = await save(library, ANA, "Grandma")
    await save(library, ANA, "Grandpa")

    with refused(Reason.NAME_TAKEN):
        await library.rename(ANA, "Grandma", "GRANDPA")
    with refused(Reason.NAME_TOO_LONG, limit=32):
        await library.rename(ANA, "Grandma", "x" * 33)
    with refused(Reason.NO_SUCH_VOICE):
        await library.rename(ANA, "nobody", "somebody")

    assert (await library.rename(ANA, "grandma", "GRANDMA")).name == "GRANDMA"
    renamed = await library.rename(ANA, "Grandma", "Oma")
    assert renamed == await library.find(ANA, "oma")
    assert renamed.id == voice.id
    assert await library.check_can_save(ANA, "Grandma") == "Grandma"


async def test_what_arrives_for_a_deleted_voice_never_reaches_the_next_one(
    library: VoiceLibrary,
) -> None:
    deleted = await save(library, ANA, "Grandma")
    await library.delete(await library.find(ANA, "GRANDMA"))
    successor = await save(library, ANA, "Grandma")

    assert await library.why_gone(deleted) is Reason.NO_SUCH_VOICE
    assert await library.defaults.touch(deleted)
    assert not await library.store_prompt(deleted, VoicePrompt(b"late", MODEL))
    with refused(Reason.NO_SUCH_VOICE):
        await library.clip(deleted)
    assert await library.prompt(deleted, MODEL) is None
    assert await library.find(ANA, "Grandma") == successor


async def test_deleting_twice_is_refused(library: VoiceLibrary) -> None:
    voice = await save(library, ANA, "Grandma")
    await library.delete(voice)

    with refused(Reason.NO_SUCH_VOICE):
        await library.delete(voice)


async def test_a_time_without_its_zone_is_an_error(library: VoiceLibrary) -> None:
    consent = confirm(Permission.OWN, by=ANA, at=datetime(2026, 12, 1))  # noqa: DTZ001 - the point
    with pytest.raises(Exception, match="without a time zone"):
        await save(library, ANA, "Grandma", consent=consent)


someone = count(BEN + 1)
spoken_names = st.text(
    st.characters(
        exclude_categories=["C", "Zl", "Zp"], exclude_characters="\N{LATIN SMALL LETTER DOTLESS I}"
    ),
    min_size=1,
    max_size=12,
)


@pytest.mark.slow
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(name=spoken_names)
async def test_a_saved_voice_is_found_in_any_case(library: VoiceLibrary, name: str) -> None:
    try:
        cleaned = clean_voice_name(name)
    except Refusal:
        return
    owner = next(someone)
    saved = await save(library, owner, name)

    assert saved.name == cleaned
    for typed in (name, name.upper(), name.lower(), name.title(), name.swapcase(), f" {name} "):
        assert await library.find(owner, typed) == saved
        assert await suggested(library, owner, typed) == [cleaned]


async def test_how_loud_a_voice_is_belongs_to_a_model(library: VoiceLibrary) -> None:
    voice = await save(library, ANA, "Ana")
    await library.store_prompt(voice, VoicePrompt(b"other codes", OTHER_MODEL))
    assert await library.loudness(voice, MODEL) is None
    await library.note_loudness(voice, MODEL, -24.5)
    assert await library.loudness(voice, MODEL) == -24.5
    assert await library.loudness(voice, OTHER_MODEL) is None
    await library.correct_transcript(voice, "Hello.", VoicePrompt(b"again", MODEL))
    assert await library.loudness(voice, MODEL) is None, "that prompt is another one"
