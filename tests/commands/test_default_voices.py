"""Which voice speaks for members who name none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bot.errors import Reason
from bot.interface.wording.sentences import REFUSALS, link_commands
from bot.voices.rights import Share
from tests.commands.test_sharing import says, shares

if TYPE_CHECKING:
    from tests.support.discord_server import Answer, Member, Server

SETTING = "default_voice_id"


def heading(answer: Answer) -> str:
    """The name of the voice that spoke, or why none did."""
    if not answer.posted:
        return answer.told
    return answer.posted[0].content.split(" (")[0].split(" by ")[0]


async def selects(manager: Member, answer: Answer, value: Any, custom_id: str) -> None:
    assert answer.private is not None
    await manager.actor.select(answer.private, [value], custom_id=custom_id)


async def opens(manager: Member) -> Answer:
    answer = await manager.types("settings")
    await selects(manager, answer, SETTING, "settings:show:")
    return answer


async def chooses(manager: Member, value: Any) -> Answer:
    answer = await opens(manager)
    await selects(manager, answer, value, f"settings:set:{SETTING}")
    return answer


def offered(answer: Answer) -> dict[str, str]:
    assert answer.private is not None
    menus = [row["components"][0] for row in answer.private.components]
    [menu] = [each for each in menus if each["custom_id"] == f"settings:set:{SETTING}"]
    return {option["label"]: option["value"] for option in menu["options"]}


def shown(answer: Answer) -> str | None:
    assert answer.private is not None
    [page] = answer.private.embeds
    return {field.name: field.value for field in page.fields}["Default voice"]


async def test_a_servers_default_voice_is_for_those_who_have_none(
    server: Server, ada: Member, grace: Member, manager: Member
) -> None:
    bob = await ada.saves_voice(name="Bob")
    await ada.saves_voice(name="Secret")
    assert "No voice is shared with everyone here yet" in str(shown(await opens(manager)))
    await shares(ada)
    await shares(ada, "Secret", who=grace.actor)
    assert offered(await opens(manager)) == {"Bob (by @ada)": str(bob.id)}
    saved = await chooses(manager, str(bob.id))
    assert saved.told == "Saved."
    assert shown(saved) == f"**Bob** by <@{ada.actor.id}>"

    assert heading(await says(grace, None)) == "**Bob**"
    explained = (await grace.types("voice default")).told
    assert "you used it last" in explained
    eve = server.member("eve")
    assert "this server's admins chose it" in (await eve.types("voice default")).told
    await eve.saves_voice(name="Eve")
    assert heading(await says(eve, None)) == "**Eve**", "their own comes first"

    await ada.types("voice unshare", voice="Bob")
    zoe = server.member("zoe")
    assert heading(await says(zoe, None)).startswith("You have no saved voice yet.")
    assert "isn't shared with everyone here any more" in str(shown(await opens(manager)))
    await shares(ada)
    assert (await says(zoe, None)).posted
    await manager.presses((await opens(manager)).private, "Clear")
    assert not (await says(server.member("max"), None)).posted


async def test_a_voice_that_is_not_for_everyone_cannot_be_chosen(
    ada: Member, manager: Member
) -> None:
    for name in ("Bob", "Ann"):
        voice = await ada.saves_voice(name=name)
        await shares(ada, name)
    answer = await opens(manager)
    await ada.types("voice unshare", voice="Ann")
    await selects(manager, answer, str(voice.id), f"settings:set:{SETTING}")
    assert answer.told == REFUSALS[Reason.CHOICE_GONE]
    assert shown(answer) == "None"


async def test_more_voices_than_a_menu_holds_can_be_chosen(
    server: Server, ada: Member, manager: Member
) -> None:
    library, with_all = server.bot.library, Share.with_everyone(server.guild.id)
    for number in range(30):
        voice = await ada.saves_voice(name=f"Voice {number:02}")
        await library.sharing.share(voice, with_all, owner_name="ada")
    answer = await opens(manager)
    assert len(offered(answer)) == 25
    more = offered(answer)["More voices…"]
    await selects(manager, answer, more, f"settings:set:{SETTING}")
    assert [label[:8] for label in offered(answer)] == [
        *(f"Voice {number}" for number in range(24, 30)),
        "Back to ",
    ]
    await selects(manager, answer, str(voice.id), f"settings:set:{SETTING}")
    assert str(shown(answer)).startswith("**Voice 29** by")


async def test_ones_own_default_comes_before_the_last_used(
    server: Server, ada: Member, grace: Member
) -> None:
    await ada.saves_voice(name="Bob")
    await shares(ada)
    for name in ("First", "Second"):
        await grace.saves_voice(name=name)
    told = (await grace.types("voice default", voice="first")).told
    assert told.startswith("Done. I speak with **First** when you name no voice.")
    assert heading(await says(grace, "Bob")) == "**Bob**"
    assert heading(await says(grace, None)) == "**First**"
    assert "you chose it" in (await grace.types("voice default")).told
    assert (await grace.types("voice default", clear=True)).told.startswith("Done. When you name")
    assert heading(await says(grace, None)) == "**First**", "it was used last"
    assert (await grace.types("voice default", clear=True)).told.startswith("You hadn't chosen")

    told = (await grace.types("voice default", voice="Bob")).told
    assert "in this server, for as long as it's shared with you" in told
    await ada.types("voice unshare", voice="Bob")
    lost = await says(grace, None)
    assert lost.told == link_commands(
        REFUSALS[Reason.DEFAULT_NOT_SHARED].format(name="Bob"), server.bot.command_ids
    )
    assert not lost.posted
    refused = await grace.types("voice default", voice="Bob")
    assert refused.told == link_commands(REFUSALS[Reason.NO_VOICE_TO_USE], server.bot.command_ids)


@pytest.mark.parametrize("way", ["delete", "forget"])
async def test_a_default_voice_that_is_gone_is_none(
    ada: Member, grace: Member, manager: Member, way: str
) -> None:
    bob = await ada.saves_voice(name="Bob")
    await shares(ada)
    await chooses(manager, str(bob.id))
    await grace.types("voice default", voice="Bob")
    assert (await says(grace, None)).posted
    options = {"voice": "Bob"} if way == "delete" else {}
    asked = await ada.types("voice delete" if way == "delete" else "forget", **options)
    await ada.presses(asked.private, "Delete")
    assert heading(await says(grace, None)).startswith("You have no saved voice yet.")
