"""`/dictionary`: people teach the bot how to say words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.support.public_words import text_beside

if TYPE_CHECKING:
    from tests.support.discord_server import Member, Server
    from tests.support.scripted_backend import ScriptedBackend


@pytest_asyncio.fixture(loop_scope="module")
async def ada(ada: Member) -> Member:
    await ada.saves_voice()
    return ada


@pytest_asyncio.fixture(loop_scope="module")
async def grace(grace: Member) -> Member:
    await grace.saves_voice()
    return grace


async def test_a_word_is_said_as_its_owner_wants_and_shown_as_written(
    ada: Member, grace: Member, backend: ScriptedBackend
) -> None:
    answer = await ada.types("dictionary add", word="GG", spoken="good game")
    assert answer.told == "From now on I'll say “good game” when you write “GG”."
    said = await ada.types("say", text="gg, all of you!")
    await grace.types("say", text="gg, all of you!")
    assert backend.spoken == ["good game, all of you!", "gg, all of you!"]
    assert text_beside(said.posted[0].content) == "gg, all of you!"


async def test_a_servers_words_are_for_all_and_a_persons_come_first(
    ada: Member, grace: Member, manager: Member, backend: ScriptedBackend
) -> None:
    answer = await manager.types("dictionary add", word="GG", spoken="good game", whose="server")
    assert answer.told.endswith("when somebody here writes “GG”.")
    await ada.types("dictionary add", word="gg", spoken="gee gee")
    await ada.types("say", text="GG to all.")
    await grace.types("say", text="GG to all.")
    assert backend.spoken == ["gee gee to all.", "good game to all."]


@pytest.mark.parametrize("command", ["add", "remove"])
async def test_only_managers_change_the_servers(ada: Member, manager: Member, command: str) -> None:
    await manager.types("dictionary add", word="GG", spoken="good game", whose="server")
    spoken = {"spoken": "x"} if command == "add" else {}
    answer = await ada.types(f"dictionary {command}", word="GG", whose="server", **spoken)
    assert answer.told.startswith("Only members with the Manage Server permission")
    assert "GG → good game" in (await ada.types("dictionary list")).told


async def test_a_word_is_removed_with_what_is_offered(
    server: Server, ada: Member, backend: ScriptedBackend
) -> None:
    await ada.types("dictionary add", word="GG", spoken="good game")
    await ada.types("dictionary add", word="wp", spoken="well played")
    offered = await ada.actor.autocomplete(server.channel, "dictionary remove", "word", "g")
    assert offered == [{"name": "GG → good game", "value": "GG"}]
    removed = await ada.types("dictionary remove", word="GG")
    assert removed.told == "Removed. I say “GG” as it's written again."
    await ada.types("say", text="GG, wp.")
    assert backend.spoken == ["GG, well played."]
    again = await ada.types("dictionary remove", word="GG")
    assert again.told.startswith("That word isn't in that dictionary.")


async def test_the_list_shows_both_and_always_fits(ada: Member, manager: Member) -> None:
    assert (await ada.types("dictionary list")).told.startswith("There are no words yet.")
    for number in range(7):
        word, spoken = f"{number}" + "(" * 39, "a " + "[]()#" * 19
        await ada.types("dictionary add", word=word, spoken=spoken)
        await manager.types("dictionary add", word=word, spoken=spoken, whose="server")
    first = await ada.types("dictionary list")
    assert first.told.startswith("**Your words** (7)")
    assert "**This server's words** (7)" in first.told
    assert first.told.endswith("Page 1 of 2.")
    assert len(first.told) <= 2_000
    second = await ada.presses(first.private, "Next ▶")
    assert second.told.endswith("Page 2 of 2.")


async def test_whoever_removes_a_word_is_told_what_is_still_said(
    ada: Member, manager: Member
) -> None:
    await manager.types("dictionary add", word="GG", spoken="good game", whose="server")
    await ada.types("dictionary add", word="gg", spoken="gee gee")
    removed = await ada.types("dictionary remove", word="GG")
    assert removed.told == (
        "Removed. I still say “good game” for you: “gg” is one of this server's words, too."
    )
    await manager.types("dictionary add", word="gg", spoken="golf golf")
    removed = await manager.types("dictionary remove", word="gg", whose="server")
    assert "“golf golf” for you: “GG” is one of your own words, too." in removed.told


async def test_replaced_words_count_against_the_limit(
    ada: Member, backend: ScriptedBackend
) -> None:
    spoken = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    await ada.types("dictionary add", word="x", spoken=spoken)
    answer = await ada.types("say", text=" ".join(f"x {number}" for number in range(200)))
    assert answer.told.startswith("With what the dictionaries say for its words, that text has")
    assert backend.spoken == []


async def test_what_a_dictionary_repeats_is_shortened_as_in_texts(
    ada: Member, backend: ScriptedBackend
) -> None:
    for word in ("one", "two", "three"):
        await ada.types("dictionary add", word=word, spoken="no no no no")
    await ada.types("say", text="one two three")
    assert backend.spoken == ["no no no no no."]


async def test_what_is_stored_cannot_mark_up_a_message(ada: Member) -> None:
    answer = await ada.types("dictionary add", word="@everyone", spoken="*[x](y)* `/say` @here")
    assert "@everyone" not in answer.told
    assert "@here" not in answer.told
    assert "[x](" not in answer.told


async def test_forget_includes_the_dictionary(ada: Member, server: Server) -> None:
    bob = server.member("bob")
    await bob.types("dictionary add", word="GG", spoken="good game")
    question = await bob.types("forget")
    assert "the words of your dictionary" in question.told
    answer = await bob.presses(question.private, "Delete")
    assert answer.told == "Deleted 1 word of your dictionary. You had no saved voice."
    assert (await bob.types("forget")).told.startswith("There's nothing to delete")
    await ada.types("dictionary add", word="GG", spoken="good game")
    answer = await ada.presses((await ada.types("forget")).private, "Delete")
    assert answer.told == (
        "Deleted 1 voice with its recording, 1 word of your dictionary, and your consent record."
    )
