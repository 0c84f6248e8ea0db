"""`/report` and the message menu, as those who use them meet them, and what they show."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import discord
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import Reason, Refusal
from bot.guilds.records import EVERYWHERE
from bot.interface.message_links import message_of
from bot.interface.reports.card import in_their_words
from tests.support.discord_server import Answer, open_server
from tests.support.recordings import as_file, speech
from tests.support.report_scene import REASON, labels, open_scene, shown, uses_menu
from tests.support.scripted_backend import ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.report_scene import Scene

NOTHING_TOLD = "They may see who sent it; I don't tell whoever made the speech."


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(tmp_path) as opened:
        yield opened


async def test_a_report_reaches_moderators_and_operators_with_all_that_they_need(
    scene: Scene,
) -> None:
    await scene.hides(scene.reports)
    message = await scene.speech()
    answer = await scene.reported(message, "They pretend to be @everyone's boss")

    assert answer.told.startswith(
        "Thank you. I sent your report to the server's moderators and whoever runs this bot. "
        + NOTHING_TOLD
    )
    for notice in (scene.notice, scene.direct_notice):
        assert notice.embeds[0].title == "Report 1"
        card = shown(notice)
        assert f"[This message]({message.jump_url}), posted <t:" in card["Speech"]
        assert card["Voice"] == "`#1` **Bob**"
        assert card["Its owner"] == f"<@{scene.ada.actor.id}> (`{scene.ada.actor.id}`)"
        assert card["Reported by"] == f"<@{scene.grace.actor.id}> (`{scene.grace.actor.id}`)"
        assert card["The owner's consent"].startswith("They confirmed on <t:")
        assert card["The owner's consent"].endswith(
            ": “This is my own voice. I will not use it to deceive or harm anyone.”"
        )
        assert card["State"] == "Waits for a decision."
        assert notice.content == "They write:\n```\nThey pretend to be @everyone's boss\n```"
    assert labels(scene.notice) == [
        *("Freeze the voice", "Remove the voice", "Block its owner", "Dismiss")
    ]
    assert scene.notice.embeds[0].footer.text != scene.direct_notice.embeds[0].footer.text


async def test_what_was_confirmed_for_a_voice_that_was_only_tried_is_in_the_log(
    scene: Scene,
) -> None:
    [message] = (await scene.ada.clones(as_file(speech(6.0), 24_000, "wav"))).posted
    await scene.reported(message)
    assert shown(scene.notice)["The owner's consent"] == (
        "`/clone` asked for it. What they chose is in the log, as the voice isn't saved."
    )


async def test_who_reports_is_not_named_where_whoever_spoke_may_read_it(scene: Scene) -> None:
    """Neither in a channel that they see, nor in the server's log, which managers read."""
    message = await scene.speech()
    await scene.reported(message)
    grace = str(scene.grace.actor.id)
    assert grace not in str(scene.notice.embeds[0].to_dict())
    await scene.admin.presses(scene.notice, "Freeze the voice")
    assert shown(scene.notice)["Reported by"].startswith("Not shown here")
    assert grace in shown(scene.direct_notice)["Reported by"]

    await scene.grace.types("voice claim", message=message.jump_url)
    await scene.server.bot.policy.audit.written()
    log = (await scene.admin.types("moderation log")).told
    assert f"Somebody reported voice #1 of <@{scene.ada.actor.id}>" in log
    assert f"Somebody said that voice #1 of <@{scene.ada.actor.id}> is their own" in log
    assert grace not in log
    of_grace = await scene.admin.types("moderation log", member=scene.grace.actor)
    assert of_grace.told.startswith("Nothing like that happened here")


async def test_what_people_typed_stays_harmless(scene: Scene) -> None:
    library = scene.server.bot.library
    await library.rename(scene.ada.actor.id, "Bob", "**[@here](https://evil.example)")
    message = await scene.speech()
    await scene.reported(message, "``` <@&1> @everyone\n```https://evil.example")

    assert "](" not in shown(scene.notice)["Voice"].replace("\\]\\(", "")
    assert "@here" not in shown(scene.notice)["Voice"]
    [begin, *_, end] = scene.notice.content.removeprefix("They write:\n").splitlines()
    assert (begin, end) == ("```", "```")
    assert scene.notice.content.count("`") == 6, "nothing ends the block of code early"
    for body in scene.server.requests("POST", f"/channels/{scene.reports.id}/messages"):
        assert body["allowed_mentions"] == {"parse": []}


async def test_every_message_of_a_voice_message_can_be_reported(scene: Scene) -> None:
    answer = await scene.ada.types("say", text="Hello.", format="voice-message")
    sound, words = answer.posted
    for message in (sound, words):
        assert (await scene.reported(message)).told.startswith("Thank you.")


async def test_report_takes_the_link_that_discord_copies(scene: Scene) -> None:
    message = await scene.speech()
    form = await scene.grace.types("report", message=message.jump_url)
    answer = await scene.grace.submits(form, {REASON: ""})

    assert answer.told.startswith("Thank you.")
    assert not scene.notice.content, "they wrote nothing"
    link = "https://example.com/1/2/3"
    assert (await scene.grace.types("report", message=link)).told.startswith("That isn't a link")


@pytest.mark.parametrize(
    ("link", "message_id"),
    [
        ("https://discord.com/channels/1/2/345", 345),
        (" <https://ptb.discord.com/channels/@me/2/345> ", 345),
        ("https://canary.discordapp.com/channels/1/2/345", 345),
        ("2-345", 345),
        ("345", 345),
    ],
)
def test_a_message_is_named_as_discord_copies_it(link: str, message_id: int) -> None:
    assert message_of(link) == message_id


@settings(max_examples=50, deadline=None)
@given(st.text("ab `\n\r\u2028\u202e@<>", max_size=900))
def test_nothing_that_is_written_leaves_its_block_of_code(reason: str) -> None:
    words = in_their_words(reason)
    inside = words.removeprefix("They write:\n```\n").removesuffix("\n```")
    assert (words == "") == (not reason.replace("\u202e", "").strip())
    assert "`" not in inside
    assert "\u202e" not in inside
    assert len(words) <= 400


async def test_only_speech_of_others_can_be_reported(scene: Scene) -> None:
    words = await scene.grace.actor.send(scene.server.channel, "Hello.")
    answer = await uses_menu(scene.ada, words)
    assert answer.told.startswith("I don't know that message: it isn't speech of mine")
    own = await uses_menu(scene.ada, await scene.speech())
    assert own.told.startswith("You made that yourself, so there's nobody to report.")
    nowhere = await scene.grace.types("report")
    assert nowhere.told.startswith("Join the voice channel where you heard me")


async def test_who_reports_in_vain_is_told_what_to_do(scene: Scene) -> None:
    message = await scene.speech()
    everybody = scene.server.bot.get_guild(scene.server.guild.id)
    assert everybody is not None
    hidden = everybody.get_channel(scene.reports.id)
    assert isinstance(hidden, discord.TextChannel)
    await hidden.set_permissions(everybody.me, send_messages=False)
    scene.server.breaks("POST", "/users/@me/channels", status=403, code=50007)
    answer = await scene.reported(message)
    assert answer.told.startswith("I couldn't pass your report on: there's no")
    assert scene.reports.history() == []

    await hidden.set_permissions(everybody.me, send_messages=True)
    assert (await scene.reported(message)).told.startswith("Thank you.")
    again = await scene.reported(message)
    assert again.told.startswith("You've sent that already")


async def test_who_is_blocked_can_neither_report_nor_claim(scene: Scene) -> None:
    message = await scene.speech()
    moderation = scene.server.bot.policy.moderation
    await moderation.block(scene.grace.actor.id, EVERYWHERE, by=None)
    for answer in (
        await uses_menu(scene.grace, message),
        await scene.grace.types("report", message=message.jump_url),
        await scene.grace.types("voice claim", message=message.jump_url),
    ):
        assert "has blocked you" in answer.told
    assert scene.reports.history() == []


async def test_whom_a_server_blocks_reaches_only_the_operators_with_a_link(scene: Scene) -> None:
    message = await scene.speech()
    moderation, here = scene.server.bot.policy.moderation, scene.server.guild.id
    await moderation.block(scene.grace.actor.id, here, by=None)
    person = scene.grace.actor.user
    answer = Answer(await person.slash("voice claim", message=message.jump_url))
    assert "I told whoever runs this bot." in answer.told
    assert scene.reports.history() == []
    assert scene.direct_notice.embeds[0].title == "Claim 1: “That's my voice”"


async def test_what_is_sent_twice_at_the_same_time_is_sent_once(scene: Scene) -> None:
    message = await scene.speech()
    reporting, grace = scene.server.bot.reporting, scene.grace.actor.id
    subject = await reporting.posted(message.id, grace)
    results = await asyncio.gather(
        *(reporting.claim(subject, grace) for _ in range(2)), return_exceptions=True
    )
    [refused] = [result for result in results if not isinstance(result, str)]
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.ALREADY_REPORTED
    assert len(scene.reports.history()) == 1


async def test_speech_that_came_by_direct_message_can_be_reported(scene: Scene) -> None:
    """Where the bot may not post, speech goes to who asked for it, who may well pass it on."""
    scene.server.breaks("POST", "/webhooks/*", status=403, times=2)
    await scene.server.forbids_bot(attach_files=False)
    await scene.ada.types("say", text="Hello.")
    message = scene.ada.actor.user.dm_channel.history()[-1]
    form = await scene.grace.types("report", message=str(message.id))
    answer = await scene.grace.submits(form, {REASON: ""})

    assert answer.told.startswith("Thank you. I sent your report to whoever runs this bot.")
    assert (
        f"https://discord.com/channels/@me/{message.channel.id}/{message.id}"
        in shown(scene.direct_notice)["Speech"]
    )


async def test_the_operators_can_have_a_channel_of_their_own(tmp_path: Path) -> None:
    async with open_server(tmp_path, ScriptedBackend()) as server:
        channel = server.guild.create_text_channel("operators")
        server.bot.settings = server.bot.settings.model_copy(update={"report_channel": channel.id})
        await server.restarts()
        ada, grace = server.member("ada"), server.member("grace")
        await ada.saves_voice()
        [message] = (await ada.types("say", text="Hello.")).posted
        form = await uses_menu(grace, message)
        answer = await grace.submits(form, {REASON: "Everything"})
        assert answer.told.startswith("Thank you. I sent your report to whoever runs this bot. ")
        [notice] = channel.history()
        assert notice.content.startswith("They write:")

        refused = await grace.presses(notice, "Freeze the voice")
        assert refused.told.startswith("Only those who run this bot can do that.")
