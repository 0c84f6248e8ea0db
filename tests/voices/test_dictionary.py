"""Pronunciation dictionaries in the database: whose they are, and what they refuse."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bot.errors import Reason, Refusal
from bot.storage.database import open_database
from bot.voices.dictionary import MAX_WORDS, Dictionaries
from bot.voices.library import VoiceLibrary
from bot.voices.records import Forgotten, Whose
from tests.support.refusals import refused
from tests.voices.people import ANA, BEN, GUILD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.databases import Clock


@pytest.fixture
async def dictionaries(database_url: str, clock: Clock) -> AsyncIterator[Dictionaries]:
    database = await open_database(database_url)
    yield Dictionaries(database, clock=clock)
    await database.close()


LONG = (
    "The quick brown fox jumps over a lazy dog, and nobody in the whole village looks up from "
    "either a book or a newspaper."
)


def on_disk(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*.db*"))


async def words_of(
    dictionaries: Dictionaries, person: int, guild: int | None = None
) -> dict[str, str]:
    return await dictionaries.spoken_for(person, guild)


async def test_each_has_their_own_words_and_those_of_the_server(dictionaries: Dictionaries) -> None:
    await dictionaries.add(Whose.SERVER, GUILD, "GG", "good game")
    await dictionaries.add(Whose.SERVER, GUILD, "wp", "well played")
    await dictionaries.add(Whose.PERSON, ANA, "gg", "gee gee")
    assert await words_of(dictionaries, ANA, GUILD) == {"gg": "gee gee", "wp": "well played"}
    assert await words_of(dictionaries, BEN, GUILD) == {"gg": "good game", "wp": "well played"}
    assert await words_of(dictionaries, ANA) == {"gg": "gee gee"}
    assert await words_of(dictionaries, BEN) == {}


async def test_a_person_with_a_servers_id_does_not_get_its_words(
    dictionaries: Dictionaries,
) -> None:
    await dictionaries.add(Whose.SERVER, GUILD, "GG", "good game")
    assert await words_of(dictionaries, GUILD) == {}


async def test_the_same_word_again_replaces_it(dictionaries: Dictionaries) -> None:
    await dictionaries.add(Whose.PERSON, ANA, "GG", "good game")
    await dictionaries.add(Whose.PERSON, ANA, "gg", "gee gee")
    page = await dictionaries.page(Whose.PERSON, ANA)
    assert [(each.word, each.spoken) for each in page.words] == [("gg", "gee gee")]


async def test_words_are_removed_by_any_spelling(dictionaries: Dictionaries) -> None:
    await dictionaries.add(Whose.PERSON, ANA, "GG", "good game")
    removed = await dictionaries.remove(Whose.PERSON, ANA, " gG ")
    assert removed.word == "GG"
    with refused(Reason.NO_SUCH_WORD):
        await dictionaries.remove(Whose.PERSON, ANA, "GG")


async def test_a_dictionary_has_an_end(dictionaries: Dictionaries) -> None:
    limit = MAX_WORDS[Whose.PERSON]
    adding = (dictionaries.add(Whose.PERSON, ANA, f"w{n}", "x") for n in range(limit + 5))
    results = await asyncio.gather(*adding, return_exceptions=True)
    refusals = [each for each in results if isinstance(each, Refusal)]
    assert [each.reason for each in refusals] == [Reason.DICTIONARY_FULL] * 5
    page = await dictionaries.page(Whose.PERSON, ANA, offset=limit - 1)
    assert (page.total, len(page.words)) == (limit, 1)
    kept = page.words[0].word
    await dictionaries.add(Whose.PERSON, ANA, kept, "changed")
    await dictionaries.add(Whose.PERSON, BEN, "another", "dictionary")


@pytest.mark.parametrize(
    ("word", "spoken"), [("", "x"), ("x", " "), ("\u200b\u202e", "x"), ("🎉", "x"), ("<|a|>", "x")]
)
async def test_what_cannot_be_said_is_refused(
    dictionaries: Dictionaries, word: str, spoken: str
) -> None:
    with refused(Reason.WORD_NOT_SPEAKABLE):
        await dictionaries.add(Whose.PERSON, ANA, word, spoken)
    assert await words_of(dictionaries, ANA) == {}


@pytest.mark.parametrize(("word", "spoken"), [(LONG[:41], "x"), ("x", LONG)])
async def test_what_is_too_long_is_refused(
    dictionaries: Dictionaries, word: str, spoken: str
) -> None:
    with refused(Reason.WORD_TOO_LONG, word=40, spoken=100):
        await dictionaries.add(Whose.PERSON, ANA, word, spoken)


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("**good** game", "good game"),
        ("<@123> <#5> <:pepe:7>", "someone some channel pepe"),
        ("a\x00b\u202ec\nd", "abc. d"),
        ("<|im_start|>system", "system"),
        ("one [pause 5s] two [pause]", "one two"),
        ("[click](https://evil.example)", "click"),
    ],
)
async def test_hostile_values_are_stored_as_plain_words(
    dictionaries: Dictionaries, typed: str, stored: str
) -> None:
    entry = await dictionaries.add(Whose.PERSON, ANA, "word", typed)
    assert entry.spoken == stored


async def test_suggests_what_contains_what_was_typed(dictionaries: Dictionaries) -> None:
    for number in range(30):
        await dictionaries.add(Whose.PERSON, ANA, f"Word {number}", "x")
    assert len(await dictionaries.suggest(Whose.PERSON, ANA, "")) == 25
    suggested = await dictionaries.suggest(Whose.PERSON, ANA, " WORD 2")
    assert {each.word for each in suggested} == {"Word 2", *(f"Word {n}" for n in range(20, 30))}


async def test_forget_erases_a_persons_words_and_no_others(
    database_url: str, tmp_path: Path
) -> None:
    database = await open_database(database_url)
    library, dictionaries = VoiceLibrary(database), Dictionaries(database)
    await dictionaries.add(Whose.PERSON, ANA, "Anaword", "Anasecret")
    await dictionaries.add(Whose.PERSON, BEN, "Benword", "x")
    await dictionaries.add(Whose.SERVER, GUILD, "Guildword", "x")
    assert await library.keeps_anything_about(ANA)
    assert await library.forget(ANA) == Forgotten(voices=0, consents=0, words=1)
    assert not await library.keeps_anything_about(ANA)
    assert set(await dictionaries.spoken_for(BEN, GUILD)) == {"benword", "guildword"}
    assert b"Anasecret" not in on_disk(tmp_path)
    await library.close()
