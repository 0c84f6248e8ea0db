"""Voices that people share in a server, as those who share and use them meet it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from bot.errors import Reason
from bot.guilds.records import EVERYWHERE, FreezeKind
from bot.interface.wording.sentences import REFUSALS, link_commands
from bot.voices.consent import Permission
from bot.voices.rights import Asker
from tests.support.discord_server import Answer, Member, Server
from tests.support.public_words import attribution

if TYPE_CHECKING:
    from backend.contract import SpeechRequest
    from tests.support.scripted_backend import ScriptedBackend


@pytest_asyncio.fixture(loop_scope="module")
async def bob(ada: Member) -> int:
    """The id of Ada's voice."""
    return (await ada.saves_voice(name="Bob")).id


async def shares(member: Member, voice: str = "Bob", *, who: Any = None) -> str:
    if who is None:
        return (await member.shares_with_everyone(voice)).told
    return (await member.types("voice share", voice=voice, **{"with": who})).told


async def says(member: Member, voice: str | None = "Bob") -> Answer:
    named = {} if voice is None else {"voice": voice}
    answer = await member.types("say", text="Hello.", **named)
    await member.server.bot.policy.audit.written()
    return answer


async def offered(member: Member, typed: str = "", command: str = "say") -> dict[str, str]:
    channel = member.server.channel
    choices = await member.actor.autocomplete(channel, command, "voice", typed)
    return {choice["name"]: choice["value"] for choice in choices}


def sentence(server: Server, reason: Reason, **values: object) -> str:
    return link_commands(REFUSALS[reason].format(**values), server.bot.command_ids)


async def test_a_voice_is_private_until_its_owner_shares_it(
    server: Server, ada: Member, grace: Member, bob: int
) -> None:
    refused = await says(grace)
    assert refused.told == sentence(server, Reason.NO_VOICE_TO_USE)
    assert not refused.posted
    assert await offered(grace) == {}

    told = await shares(ada, who=grace.actor)
    assert told == (
        f"<@{grace.actor.id}> can speak with **Bob** here now. "
        "Only you can rename, share or delete it. `/voice unshare` takes it back."
    )
    assert await offered(grace, "b") == {"Bob (by @ada)": f"Bob (by @ada) #{bob}"}
    assert (await says(grace)).posted
    assert (await says(grace, (await offered(grace))["Bob (by @ada)"])).posted
    assert not (await says(server.member("eve"))).posted


@pytest.mark.usefixtures("bob")
async def test_a_voice_is_shared_with_everyone_only_after_a_question(
    ada: Member, grace: Member
) -> None:
    asked = await ada.types("voice share", voice="Bob")
    assert asked.told == "Let **everyone** in this server speak with **Bob**?"
    await ada.presses(asked.private, "Cancel")
    assert asked.told.startswith("I didn't share **Bob**.")
    assert not (await says(grace)).posted
    everyone = ada.actor.guild.default_role
    asked = await ada.types("voice share", voice="Bob", **{"with": everyone})
    assert not (await says(grace)).posted, "nobody has answered"
    await ada.presses(asked.private, "Share")
    assert (await says(grace)).posted


async def test_who_shares_the_voice_of_somebody_else_is_reminded(
    ada: Member, grace: Member
) -> None:
    await ada.saves_voice(name="Eva", permission=Permission.GIVEN)
    told = await shares(ada, "Eva", who=grace.actor)
    assert told.endswith("takes it back. Its speaker must have allowed that, too.")
    asked = await ada.types("voice share", voice="Eva")
    assert asked.told == (
        "Let **everyone** in this server speak with **Eva**? You said that its speaker gave you "
        "permission. Share it only if they allowed that, too."
    )


@pytest.mark.usefixtures("bob")
async def test_who_uses_a_voice_of_others_is_told_once_whose_it_is(
    server: Server, ada: Member, grace: Member
) -> None:
    await shares(ada)
    first = await says(grace)
    assert first.told == f"**Bob** is <@{ada.actor.id}>'s. Don't use it to deceive or harm anyone."
    assert not (await says(grace)).told
    await server.bot.library.written()
    assert not (await says(grace)).told
    assert not (await says(ada)).told, "it's her own"


@pytest.mark.usefixtures("bob")
async def test_the_owner_sees_what_is_shared_and_who_loses_it(ada: Member, grace: Member) -> None:
    async def line() -> str:
        return (await ada.types("voice list")).told.split("\n")[1]

    assert await line() == "**Bob** · 12 s · not used yet"
    await shares(ada, who=grace.actor)
    assert await line() == "**Bob** · 12 s · **shared here** · not used yet"
    await shares(ada)
    assert await line() == "**Bob** · 12 s · **shared with everyone here** · not used yet"
    direct = Answer(await ada.actor.user.slash("voice list")).told.split("\n")[1]
    assert direct == "**Bob** · 12 s · **shared** · not used yet"
    asked = await ada.types("voice delete", voice="Bob")
    assert asked.told == (
        "Delete the voice **Bob**? Whoever you share it with loses it:\n"
        f"**Test server** (this server): everyone, <@{grace.actor.id}>\n"
        "This can't be undone. `/privacy export` first gives you a copy."
    )


@pytest.mark.usefixtures("bob")
async def test_owners_are_told_that_a_key_reaches_their_voice(
    server: Server, ada: Member, grace: Member
) -> None:
    await server.bot.policy.api_keys.create(grace.actor.id, "")
    assert "over the HTTP API" in await shares(ada, who=grace.actor)
    assert "HTTP" not in await shares(ada)


@pytest.mark.usefixtures("bob")
async def test_whoever_lost_a_role_is_told_so(server: Server, ada: Member) -> None:
    role = server.guild.create_role("choir")
    singer = Member(server, server.guild.add_member(server.env.create_user("singer"), roles=[role]))
    assert f"<@&{role.id}> can speak" in await shares(ada, who=role)
    chosen = (await offered(singer))["Bob (by @ada)"]
    [posted] = (await says(singer, chosen)).posted
    assert posted.content.startswith(attribution("Bob", singer, owner=ada)), "two may have a Bob"
    still = await ada.types("voice unshare", voice="Bob", **{"with": singer.actor})
    assert still.told == sentence(
        server,
        Reason.SHARED_WITH_ROLE,
        name="Bob",
        with_whom=f"<@{singer.actor.id}>",
        role=f"<@&{role.id}>",
    )

    server.env.backend.remove_member_role(server.guild.id, singer.actor.id, role.id)
    lost = await says(singer, chosen)
    assert lost.told == sentence(server, Reason.VOICE_NOT_SHARED)
    unnamed = await says(singer, None)
    assert unnamed.told == sentence(server, Reason.LAST_NOT_SHARED, name="Bob")
    assert not lost.posted
    assert not unnamed.posted


async def test_unsharing_holds_for_the_next_command(
    server: Server, ada: Member, grace: Member, bob: int
) -> None:
    assert (await shares(ada)).startswith("Everyone in this server can speak with **Bob** now.")
    await shares(ada, who=grace.actor)
    assert (await says(grace)).posted
    again = await shares(ada)
    assert again == "Everyone in this server can use **Bob** here already. I changed nothing."

    one = await ada.types("voice unshare", voice="Bob", **{"with": grace.actor})
    assert one.told == (
        f"Done, but **Bob** is shared with everyone here, so <@{grace.actor.id}> can still use it."
    )
    assert (await says(grace)).posted, "everyone may"
    one = await ada.types("voice unshare", voice="Bob", **{"with": grace.actor})
    assert one.told == sentence(
        server, Reason.SHARED_WITH_EVERYONE, name="Bob", with_whom=f"<@{grace.actor.id}>"
    )
    rest = await ada.types("voice unshare", voice="Bob")
    assert rest.told == "Done. Nobody else can use **Bob** in this server any more."
    assert not (await says(grace, f"#{bob}")).posted
    nothing = await ada.types("voice unshare", voice="Bob")
    assert nothing.told == "**Bob** isn't shared with anybody. Only you can use it."
    assert (await says(ada)).posted


@pytest.mark.usefixtures("bob")
async def test_sharing_is_of_one_server(server: Server, ada: Member) -> None:
    guild, user = server.env.create_guild("Elsewhere"), server.env.create_user("grace")
    grace = Member(server, server.guild.add_member(user))
    there = Server(server.env, server.bot, None, guild.create_text_channel("text"))
    grace_there = Member(there, guild.add_member(user))
    ada_there = Member(there, guild.add_member(ada.actor.user))
    await shares(ada, who=grace.actor)
    assert (await says(grace)).posted
    refused = await says(grace_there)
    assert refused.told == sentence(server, Reason.NO_VOICE_TO_USE)
    assert await offered(grace_there) == {}

    assert (
        "isn't shared with anybody in this server"
        in (await ada_there.types("voice unshare", voice="Bob")).told
    )
    await shares(ada_there)
    info = await ada.types("voice info", voice="Bob")
    assert info.private is not None
    who = {field.name: field.value for field in info.private.embeds[0].fields}
    assert who["Who else may use it"] == (
        f"**Test server** (this server): <@{grace.actor.id}>\n**Elsewhere**: everyone"
    )


@pytest.mark.usefixtures("bob")
async def test_in_direct_messages_sharing_can_only_be_ended(ada: Member, grace: Member) -> None:
    await shares(ada)
    user = ada.actor.user
    refused = Answer(await user.slash("voice share", voice="Bob"))
    assert refused.told.startswith("Voices are shared in servers only.")
    told = Answer(await user.slash("voice unshare", voice="Bob")).told
    assert told == "Done. **Bob** isn't shared in any server any more. Only you can use it."
    assert not (await says(grace)).posted


@pytest.mark.usefixtures("bob")
async def test_only_the_owner_decides_about_a_shared_voice(
    server: Server, ada: Member, grace: Member
) -> None:
    await shares(ada)
    for command, options in {
        "share": {},
        "unshare": {},
        "rename": {"new_name": "Mine"},
        "transcript": {},
        "delete": {},
    }.items():
        answer = await grace.types(f"voice {command}", voice="Bob", **options)
        assert answer.told.startswith("**Bob** is somebody else's voice"), command
        assert await offered(grace, command=f"voice {command}") == {}
    info = await grace.types("voice info", voice="Bob")
    assert info.private is not None
    [card] = info.private.embeds
    shown = {field.name: field.value for field in card.fields}
    assert shown == {"Owner": f"<@{ada.actor.id}>", "Language": "English"}
    assert "fox" not in str(card.to_dict()), "the transcript is its owner's"
    assert (await server.bot.library.find(ada.actor.id, "Bob")).name == "Bob"


async def test_names_that_are_equal_are_told_apart(
    server: Server, ada: Member, grace: Member
) -> None:
    eve = server.member("eve")
    ids = []
    for member in (ada, eve):
        ids.append((await member.saves_voice(name="Bob")).id)
        await shares(member)
    of_ada, of_eve = ids
    assert await offered(grace) == {
        "Bob (by @ada)": f"Bob (by @ada) #{of_ada}",
        "Bob (by @eve)": f"Bob (by @eve) #{of_eve}",
    }
    unclear = await says(grace)
    assert unclear.told.startswith(
        "Several voices here have that name: Bob \\(by @ada\\), Bob \\(by @eve\\)."
    )
    assert not unclear.posted
    voices = server.bot.library.defaults._just_used
    for reference, voice_id in (
        ("bob (by @EVE)", of_eve),
        (f"Bob (by @ada) #{of_ada}", of_ada),
        (f"#{of_eve}", of_eve),
    ):
        assert (await says(grace, reference)).posted
        default = await server.bot.library.defaults.voice_for(asker(grace))
        assert default is not None
        assert default.voice.id == voice_id, reference
    assert not voices

    await grace.saves_voice(name="Bob")
    assert list(await offered(grace)) == ["Bob", "Bob (by @ada)", "Bob (by @eve)"]
    assert (await says(grace)).posted
    default = await server.bot.library.defaults.voice_for(asker(grace))
    assert default is not None
    assert default.voice.owner_id == grace.actor.id, "mine comes first"


async def test_blocks_and_frozen_voices_hold_for_who_uses_them(
    server: Server, ada: Member, grace: Member, bob: int
) -> None:
    await shares(ada)
    moderation, here = server.bot.policy.moderation, server.guild.id
    await moderation.block(ada.actor.id, here, by=None)
    refused = await says(grace)
    assert refused.told == sentence(server, Reason.VOICE_OWNER_BLOCKED)
    assert await offered(grace) == {}
    await moderation.unblock(ada.actor.id, here)
    await moderation.block(grace.actor.id, here, by=None)
    assert (await says(grace)).told == sentence(server, Reason.BLOCKED_HERE)
    await moderation.unblock(grace.actor.id, here)
    await moderation.freeze(bob, ada.actor.id, EVERYWHERE, FreezeKind.FROZEN, by=None)
    assert (await says(grace)).told == sentence(server, Reason.VOICE_FROZEN)
    listed = await grace.types("voice list")
    assert listed.told.endswith(f"**Bob** · by <@{ada.actor.id}> · English · **can't be used now**")
    for member in (ada, grace):
        info = await member.types("voice info", voice="Bob")
        assert info.told == sentence(server, Reason.VOICE_FROZEN), "above the card"
        assert info.private is not None
        assert info.private.embeds
    told = await shares(ada, who=grace.actor)
    assert told == sentence(server, Reason.VOICE_FROZEN), "nobody could speak with it"
    await moderation.lift(bob, EVERYWHERE)
    assert (await says(grace)).posted
    assert (await grace.types("voice info", voice="Bob")).told == ""


@pytest.mark.usefixtures("bob")
async def test_speech_is_not_posted_if_its_voice_is_unshared_meanwhile(
    server: Server, ada: Member, grace: Member, backend: ScriptedBackend
) -> None:
    await shares(ada)

    async def unshare(_request: SpeechRequest) -> None:
        library = server.bot.library
        await library.sharing.unshare(await library.find(ada.actor.id, "Bob"))

    backend.on_speak = unshare
    answer = await says(grace)
    assert answer.told == sentence(server, Reason.VOICE_NOT_SHARED)
    assert not answer.posted


async def test_what_others_say_with_a_voice_counts_for_them_and_not_for_its_owner(
    server: Server, ada: Member, grace: Member, manager: Member, bob: int
) -> None:
    await shares(ada)
    await ada.saves_voice(name="Own")
    assert (await says(grace)).posted
    assert "1 request" in await usage(grace)
    assert "0 requests" in await usage(ada)
    default = await server.bot.library.defaults.voice_for(asker(ada))
    assert default is not None
    assert default.voice.name == "Own", "grace's use doesn't change what ada used last"
    log = (await manager.types("moderation log")).told.split("\n")
    assert log[0].endswith(f"> <@{grace.actor.id}> posted speech with voice #{bob}")
    assert log[1].endswith(f"> <@{ada.actor.id}> shared voice #{bob} (everyone)")
    voices = (await manager.types("moderation voices")).told
    assert voices.startswith(f"#{bob} **Bob** of <@{ada.actor.id}> · used once")


@pytest.mark.usefixtures("bob")
async def test_who_cannot_be_shared_with(server: Server, ada: Member) -> None:
    assert (await shares(ada, who=ada.actor)).startswith("It's your own voice")
    robot = server.guild.add_member(server.env.create_user("robot", bot=True))
    assert (await shares(ada, who=robot)).startswith("Bots don't use voices.")


async def test_the_list_has_ones_own_and_those_of_others_apart(
    server: Server, ada: Member, grace: Member
) -> None:
    for number in range(11):
        await ada.saves_voice(name=f"Shared {number:02}")
        await shares(ada, f"Shared {number:02}")
    await ada.saves_voice(name="Auto", language="Auto")
    await shares(ada, "Auto")
    await grace.saves_voice(name="Mine")
    await grace.types("voice default", voice="Auto")
    await grace.types("voice speed", voice="Mine", speed=1.5)
    first = await grace.types("voice list")
    lines = first.told.split("\n")
    assert lines[:5] == [
        "You have 1 voice. Page 1 of 2.",
        "**Mine** · 12 s · 1.5× · not used yet",  # noqa: RUF001 - "times"
        "**Shared with you here** (12)",
        f"**Auto** · by <@{ada.actor.id}> · **default**",
        f"**Shared 00** · by <@{ada.actor.id}> · English",
    ]
    await grace.presses(first.private, "Next ▶")
    assert [line[:13] for line in first.told.split("\n")] == [
        "You have 1 vo",
        "**Shared with",
        "**Shared 08**",
        "**Shared 09**",
        "**Shared 10**",
    ]
    nobody = await server.member("eve").types("voice list")
    assert nobody.told.startswith("You have no voices of your own. Page 1 of 2.\n**Shared with")


async def usage(member: Member) -> str:
    await member.server.bot.policy.ledger.written()
    answer = await member.types("usage")
    assert answer.private is not None
    return str(answer.private.embeds[0].to_dict())


def asker(member: Member) -> Asker:
    return Asker(member.actor.id, member.actor.guild.id)
