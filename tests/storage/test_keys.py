"""Keys: what is encrypted comes back, what is damaged is told apart, and keys can be exchanged."""

from __future__ import annotations

import base64
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import make_url, text
from structlog.testing import capture_logs

from backend.contract import VoicePrompt
from bot.errors import Reason
from bot.storage.database import open_database
from bot.storage.keys import DamagedError, KeyMissingError, Keys, new_key, read_keys
from bot.storage.location import DatabaseUnusableError
from bot.storage.rotation import rotate
from bot.voices.library import VoiceLibrary
from tests.support.refusals import refused
from tests.voices.people import ANA, MODEL, save

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
CLIP = b"fLaC the sound of Ana " * 300
TRANSCRIPT = "What Ana said."


def setting(*keys: bytes) -> str:
    return ", ".join(base64.b64encode(key).decode() for key in keys)


@pytest.mark.parametrize("keys", [Keys(), Keys([OLD]), Keys([None, OLD])])
@given(data=st.binary(max_size=200), words=st.text(st.characters(codec="utf-8"), max_size=50))
@example(data=b"", words="")
@example(data=Keys([OLD]).seal(b"x"), words=Keys([OLD]).seal_text("x"))
def test_what_is_stored_comes_back(keys: Keys, data: bytes, words: str) -> None:
    assert keys.open(keys.seal(data)) == data
    assert keys.open_text(keys.seal_text(words)) == words


@pytest.mark.parametrize("keys", [Keys(), Keys([OLD])])
@given(data=st.binary(max_size=50), position=st.integers(min_value=0), bit=st.integers(0, 7))
def test_one_wrong_bit_is_noticed(keys: Keys, data: bytes, position: int, bit: int) -> None:
    stored = bytearray(keys.seal(data))
    stored[position % len(stored)] ^= 1 << bit
    with pytest.raises((DamagedError, KeyMissingError)):
        keys.open(bytes(stored))


@pytest.mark.parametrize("keys", [Keys(), Keys([OLD])])
@pytest.mark.parametrize("length", [0, 5, 9, 20, 40])
def test_a_value_that_was_cut_off_is_noticed(keys: Keys, length: int) -> None:
    with pytest.raises(DamagedError):
        keys.open(keys.seal(CLIP)[:length])


def test_the_first_key_writes_and_all_of_them_read() -> None:
    both = Keys([NEW, OLD])
    assert both.open(Keys([OLD]).seal(CLIP)) == both.open(Keys().seal(CLIP)) == CLIP
    assert Keys([NEW]).open(both.seal(CLIP)) == CLIP
    with pytest.raises(KeyMissingError):
        Keys([OLD]).open(both.seal(CLIP))


def test_no_two_values_look_the_same() -> None:
    keys = read_keys(new_key())
    assert keys.seal(CLIP) != keys.seal(CLIP)
    assert new_key() != new_key()


@pytest.mark.parametrize(
    "written", ["hunter2", setting(OLD)[:-4], setting(OLD + b"x"), setting(OLD) + "!", "ü"]
)
def test_what_is_no_key_is_named_by_its_number_alone(written: str) -> None:
    with pytest.raises(DatabaseUnusableError, match="entry 2 isn't a key") as refusal:
        read_keys(f"{setting(NEW)} {written}")
    assert written not in str(refusal.value)


def raw(url: str) -> bytes:
    """The file of a database that is closed; its log is empty then."""
    with open(str(make_url(url).database), "rb") as file:  # noqa: PTH123 - blocks for no time
        return file.read()


async def stores(url: str, keys: Keys, name: str) -> None:
    library = VoiceLibrary(await open_database(url, keys))
    voice = await save(library, ANA, name, CLIP, TRANSCRIPT)
    await library.store_prompt(voice, VoicePrompt(b"codes of Ana" * 50, MODEL))
    await library.close()


async def test_nothing_of_a_voice_can_be_read_in_the_files_with_a_key(sqlite_url: str) -> None:
    await stores(sqlite_url, Keys([OLD]), "Ana")

    stored = raw(sqlite_url)
    for secret in (b"sound of Ana", b"What Ana", b"codes of Ana"):
        assert secret not in stored
        assert base64.b64encode(secret)[:-4] not in stored


async def test_what_was_stored_before_there_was_a_key_is_encrypted(database_url: str) -> None:
    await stores(database_url, Keys(), "Ana")
    keys = Keys([NEW])
    database = await open_database(database_url, keys)
    assert database.is_partly_encrypted
    library = VoiceLibrary(database)
    assert (await library.clip(await library.find(ANA, "Ana"))).flac == CLIP

    assert await rotate(database, keys) == 3
    assert await rotate(database, keys) == 0
    await database.remains_erased(at_once=True)

    voice = await library.find(ANA, "Ana")
    assert voice.transcript == TRANSCRIPT
    assert (await library.clip(voice)).flac == CLIP
    assert (await library.prompt(voice, MODEL)) == VoicePrompt(b"codes of Ana" * 50, MODEL)
    await database.close()
    if database_url.startswith("sqlite"):
        assert b"Ana said" not in raw(database_url)
        assert b"sound of Ana" not in raw(database_url)
    again = await open_database(database_url, keys)
    assert not again.is_partly_encrypted
    await again.close()


async def test_keys_are_exchanged_while_a_bot_uses_the_old_one_too(database_url: str) -> None:
    await stores(database_url, Keys([OLD]), "Ana")
    both = Keys([NEW, OLD])
    running = VoiceLibrary(await open_database(database_url, Keys([OLD, NEW])))
    database = await open_database(database_url, both)

    assert await rotate(database, both) == 3

    assert (await running.clip(await running.find(ANA, "Ana"))).flac == CLIP
    await running.close()
    await database.close()
    await (await open_database(database_url, Keys([NEW]))).close()
    with pytest.raises(DatabaseUnusableError, match=r"another key \([0-9a-f]{8}\)\. Add that key"):
        await open_database(database_url, Keys([OLD]))


async def test_encryption_can_be_given_up(database_url: str) -> None:
    await stores(database_url, Keys([OLD]), "Ana")
    keys = read_keys(f"plain, {setting(OLD)}")
    database = await open_database(database_url, keys)
    assert await rotate(database, keys) == 3
    await database.close()

    library = VoiceLibrary(await open_database(database_url))
    assert (await library.find(ANA, "Ana")).transcript == TRANSCRIPT
    await library.close()


async def test_a_key_that_another_bot_has_begun_to_use_is_the_operators_to_add(
    database_url: str,
) -> None:
    late = VoiceLibrary(await open_database(database_url, Keys([OLD])))
    await stores(database_url, Keys([NEW]), "Ana")

    with capture_logs() as logs, refused(Reason.DATABASE_NOT_READ):
        await late.find(ANA, "Ana")

    assert "STORAGE_KEYS lacks the key" in logs[0]["reason"]
    await late.close()


@pytest.mark.parametrize("keys", [Keys(), Keys([OLD])])
async def test_damage_is_told_apart_from_what_was_recorded(sqlite_url: str, keys: Keys) -> None:
    """Only the clip is needed: the prompt can be made again, and the transcript given again."""
    await stores(sqlite_url, keys, "Ana")
    with closing(sqlite3.connect(str(make_url(sqlite_url).database))) as other, other:
        for table, column in (("voices", "clip_flac"), ("voice_prompts", "data")):
            other.execute(f"UPDATE {table} SET {column} = substr({column}, 1, 60)")  # noqa: S608
        other.execute("UPDATE voices SET transcript = substr(transcript, 2)")

    database = await open_database(sqlite_url, keys)
    library = VoiceLibrary(database)
    voice = await library.find(ANA, "Ana")
    assert voice.transcript is None
    assert await library.prompt(voice, MODEL) is None
    with refused(Reason.CLIP_DAMAGED):
        await library.clip(voice)
    assert await rotate(database, Keys([NEW])) == 0, "nothing is made of damaged values"
    await library.delete(voice)
    await library.close()


async def test_values_of_the_wrong_form_do_not_keep_a_bot_from_starting(
    sqlite_url: str, tmp_path: Path
) -> None:
    await stores(sqlite_url, Keys(), "Ana")
    database = await open_database(sqlite_url)
    async with database.write() as session:
        await session.execute(text("UPDATE voices SET clip_flac = x'00ff', transcript = ''"))
    await database.close()

    await (await open_database(sqlite_url)).close()
    assert (tmp_path / "data").exists()
