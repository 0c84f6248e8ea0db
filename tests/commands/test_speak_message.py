"""The message menu "Speak this message", as those who use it meet it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest_asyncio

from bot.errors import Reason
from bot.guilds.records import EVERYWHERE
from bot.interface.wording.sentences import REFUSALS, link_commands
from tests.support.public_words import text_beside
from tests.support.report_scene import labels

if TYPE_CHECKING:
    import discord

    from tests.support.discord_server import Answer, Member, Server
    from tests.support.scripted_backend import ScriptedBackend

MENU = "Speak this message"


@pytest_asyncio.fixture(loop_scope="module")
async def ada(ada: Member) -> Member:
    await ada.saves_voice(name="Bob")
    return ada


async def writes(member: Member, text: str, **options: Any) -> discord.Message:
    return await member.actor.send(member.server.channel, text, **options)


async def speaks(member: Member, message: discord.Message) -> Answer:
    return await member.uses_menu(MENU, message)


def sentence(server: Server, reason: Reason) -> str:
    return link_commands(REFUSALS[reason], server.bot.command_ids)


def heading(asked_by: Member, message: discord.Message, author: Member | None) -> str:
    """The first line beside speech that reads a message aloud."""
    whose = f" by {author.actor.mention}" if author is not None else ""
    return (
        f"**Bob** (synthetic voice, asked by {asked_by.actor.mention}, "
        f"reading [a message]({message.jump_url}){whose}):"
    )


async def test_it_says_who_asked_and_whose_message_is_read(
    ada: Member, grace: Member, backend: ScriptedBackend
) -> None:
    message = await writes(grace, "Good **morning**, all of you.")
    answer = await speaks(ada, message)
    [posted] = answer.posted
    first, *_, quote = posted.content.splitlines()
    assert first == heading(ada, message, grace)
    assert quote == r"> Good \*\*morning\*\*, all of you."
    assert backend.spoken == ["Good morning, all of you."]
    assert len(await answer.files()) == 1
    assert answer.private is None, "nothing private is left to read"

    [again] = (await ada.presses(posted, "Again")).posted
    assert again.content == posted.content, "a new take still says whose message it is"
    assert backend.spoken[1] == backend.spoken[0]


async def test_mentions_are_said_by_name(
    server: Server, ada: Member, grace: Member, backend: ScriptedBackend
) -> None:
    message = await writes(grace, f"Hi <@{ada.actor.id}>, <@{grace.actor.id}> <:wave:12>")
    server.breaks("GET", "/guilds/*/members/*", status=500, times=20)
    answer = await speaks(ada, message)
    assert backend.spoken == ["Hi ada, grace wave."]
    assert text_beside(answer.posted[0].content) == "Hi @ada, @grace :wave:"


async def test_what_is_forwarded_or_said_by_the_bot_is_read(
    server: Server, ada: Member, grace: Member, backend: ScriptedBackend
) -> None:
    forwarded = await grace.actor.forward(await writes(grace, "Good morning."), server.channel)
    assert (await speaks(ada, forwarded)).posted
    [speech] = (await ada.types("say", text="What <b>I</b> say.")).posted
    await speaks(ada, speech)
    assert backend.spoken[0] == "Good morning."
    assert backend.spoken[1] == backend.spoken[2]


async def test_what_a_webhook_posted_has_no_author_to_mention(server: Server, ada: Member) -> None:
    hook = server.guild.create_webhook(server.channel, name="<@1> news")
    message = await hook.send("Good morning.")
    [posted] = (await speaks(ada, message)).posted
    assert posted.content.splitlines()[0] == heading(ada, message, None)


async def test_many_lines_are_read_line_by_line_and_can_be_read_again_from_the_message(
    ada: Member, grace: Member, backend: ScriptedBackend
) -> None:
    message = await writes(grace, "Milk\nEggs\nSugar")
    [posted] = (await speaks(ada, message)).posted
    assert backend.spoken == ["Milk. Eggs. Sugar."]
    assert text_beside(posted.content) == "Milk Eggs Sugar"
    assert labels(posted) == []


async def test_without_words_it_says_so(server: Server, ada: Member, grace: Member) -> None:
    picture = await writes(grace, "", attachments=[("a.png", b"\x89PNG")])
    answer = await speaks(ada, picture)
    assert answer.told == sentence(server, Reason.MESSAGE_WITHOUT_TEXT)
    emoji = await speaks(ada, await writes(grace, "👍"))
    assert emoji.told == sentence(server, Reason.NOTHING_TO_SAY)
    assert not answer.posted
    assert not emoji.posted


async def test_without_a_voice_it_says_how_to_get_one(
    server: Server, ada: Member, grace: Member
) -> None:
    message = await writes(ada, "Good morning.")
    answer = await speaks(grace, message)
    assert answer.told == sentence(server, Reason.NO_VOICE_YET)


async def test_it_is_counted_and_refused_like_say(
    server: Server, ada: Member, grace: Member
) -> None:
    message = await writes(grace, "Good morning.")
    await server.restarts(requests_per_minute=1)
    assert (await speaks(ada, message)).posted
    assert "a minute" in (await speaks(ada, message)).told
    await server.bot.policy.moderation.block(ada.actor.id, EVERYWHERE, by=None)
    assert (await speaks(ada, message)).told == sentence(server, Reason.BLOCKED_EVERYWHERE)
