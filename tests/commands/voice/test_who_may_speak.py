"""Who may speak through the bot in a voice channel: nobody whom a moderator has silenced there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import discord
import pytest

from tests.support.marked_speech import item_text
from tests.support.voice_guild import SPOKEN, eventually, last_word
from tests.support.voice_words import one_speaks_and_two_wait, told

if TYPE_CHECKING:
    from simcord.builders import ChannelHandle

    from tests.support.voice_guild import Speaker, VoiceGuild

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning"),  # discord.py
]

OR_FILE = "or use `/say` with `where: file`."
MUTED = (
    "A moderator has muted you, so I can't speak for you in voice. "
    f"Wait until you're unmuted, {OR_FILE}"
)
NOT_ALLOWED = "You're not allowed to speak in this voice channel, so I can't speak for you either."
IN_AUDIENCE = "You're in the stage's audience, so I can't speak for you."


async def let_all(guild: VoiceGuild, channel: ChannelHandle, **permissions: Any) -> None:
    """An admin gives everybody permissions in a channel, or takes them away with False."""
    seen = guild.server.bot.get_channel(channel.id)
    assert isinstance(seen, discord.abc.GuildChannel)
    await seen.set_permissions(seen.guild.default_role, **permissions)


@pytest.mark.parametrize("options", [{}, {"where": "voice"}, {"where": "both"}])
async def test_a_muted_member_is_refused_at_once(
    guild: VoiceGuild, ada: Speaker, options: dict[str, str]
) -> None:
    ada.is_moderated(mute=True)
    answer = await ada.types("say", text=item_text(1, 0.5), **options)
    assert await last_word(answer) == MUTED
    assert not answer.posted
    assert guild.bot_is_in is None, "it doesn't even come"


async def test_a_muted_member_may_still_have_a_file(guild: VoiceGuild, ada: Speaker) -> None:
    ada.is_moderated(mute=True)
    answer = await ada.types("say", text=item_text(1, 0.5), where="file")
    await eventually(lambda: answer.posted)
    assert guild.bot_is_in is None


async def test_a_mute_ends_what_is_said_and_what_waits_but_not_what_others_say(
    guild: VoiceGuild, ada: Speaker, grace: Speaker
) -> None:
    said, waits, others = await one_speaks_and_two_wait(guild, ada, grace)
    ada.is_moderated(mute=True)
    assert await last_word(said, within=3) == MUTED
    assert await last_word(waits, within=3) == MUTED
    assert SPOKEN in (await last_word(others) or "")
    heard = await guild.call.heard_until_quiet()
    assert heard.seconds < 4.0


async def test_a_member_who_is_muted_elsewhere_is_muted(guild: VoiceGuild, ada: Speaker) -> None:
    answer = await ada.says(1, 9.0)
    await guild.call.begins()
    await ada.goes_to(guild.studio)
    ada.is_moderated(mute=True)
    assert await last_word(answer, within=3) == MUTED


async def test_a_member_who_was_unmuted_speaks_again(ada: Speaker) -> None:
    ada.is_moderated(mute=True)
    assert await last_word(await ada.says(1, 0.5)) == MUTED
    ada.is_moderated(mute=False)
    assert SPOKEN in (await last_word(await ada.says(2, 0.5)) or "")


async def test_ones_own_mute_is_ones_own_business(guild: VoiceGuild, ada: Speaker) -> None:
    """People who can't or don't want to use a microphone are who the bot speaks for."""
    ada.is_moderated(self_mute=True)
    assert SPOKEN in (await last_word(await ada.says(1, 0.5)) or "")
    assert guild.bot_is_in == guild.lounge.id


@pytest.mark.parametrize("how", ["in the channel", "for the member", "as Discord shows it"])
async def test_who_may_not_speak_in_the_channel_is_refused(
    guild: VoiceGuild, ada: Speaker, how: str
) -> None:
    if how == "in the channel":
        await let_all(guild, guild.lounge, speak=False)
    elif how == "for the member":
        await ada.may(guild.lounge, speak=False)
    else:
        ada.is_moderated(suppress=True)
    words = await told(ada, "say", text=item_text(1, 0.5))
    assert words.startswith(NOT_ALLOWED)


async def test_who_loses_the_permission_to_speak_is_not_heard_on(
    guild: VoiceGuild, ada: Speaker
) -> None:
    said, waits = await ada.says(1, 9.0), await ada.says(2, 1.0)
    await guild.call.begins()
    await ada.may(guild.lounge, speak=False)
    for answer in (said, waits):
        assert (await last_word(answer, within=3) or "").startswith(NOT_ALLOWED)


async def test_who_was_given_a_role_in_the_channel_may_speak(
    guild: VoiceGuild, ada: Speaker
) -> None:
    """Discord tells the bot of no change of a member's roles, but each command has them."""
    role = guild.handle.create_role("speakers")
    await let_all(guild, guild.lounge, speak=False)
    seen = guild.channel.guild.get_role(role.id)
    assert seen is not None
    await guild.channel.set_permissions(seen, speak=True)
    await guild.channel.set_permissions(guild.channel.guild.me, speak=True)
    assert (await told(ada, "say", text=item_text(1, 0.5))).startswith(NOT_ALLOWED)
    guild.server.env.backend.add_member_role(guild.handle.id, ada.actor.id, role.id)
    assert SPOKEN in (await last_word(await ada.says(2, 0.5)) or "")


async def test_who_was_moved_into_a_locked_channel_may_speak_there(
    guild: VoiceGuild, ada: Speaker
) -> None:
    """Discord lets them speak, though they lack the permission Connect."""
    await ada.may(guild.lounge, connect=False)
    assert SPOKEN in (await last_word(await ada.says(1, 0.5)) or "")


async def test_nobody_speaks_from_a_stages_audience(guild: VoiceGuild, ada: Speaker) -> None:
    stage = guild.handle.create_stage_channel("stage")
    await eventually(lambda: guild.channel.guild.get_channel(stage.id))
    await ada.goes_to(stage)
    ada.is_moderated(suppress=True)
    assert (await told(ada, "say", text=item_text(1, 0.5))).startswith(IN_AUDIENCE)
    ada.is_moderated(suppress=False)
    answer = await ada.says(2, 3.0)
    await guild.call.begins()
    ada.is_moderated(suppress=True)
    assert (await last_word(answer, within=3) or "").startswith(IN_AUDIENCE)


async def test_the_afk_channel_is_refused(guild: VoiceGuild, ada: Speaker) -> None:
    seen = guild.channel.guild
    await seen.edit(afk_channel=guild.channel)
    await eventually(lambda: seen.afk_channel == guild.channel)
    refusal = f"Nobody can speak in the AFK channel. Join another voice channel, {OR_FILE}"
    assert await told(ada, "say", text=item_text(1, 0.5), where="voice") == refusal
    assert await told(ada, "join") == refusal
    assert guild.bot_is_in is None


async def test_who_is_in_the_afk_channel_does_not_keep_the_bot_there(
    guild: VoiceGuild, ada: Speaker, grace: Speaker
) -> None:
    assert SPOKEN in (await last_word(await ada.says(1, 0.5)) or "")
    await grace.goes_to(guild.studio)
    server = guild.channel.guild
    studio = server.get_channel(guild.studio.id)
    assert isinstance(studio, discord.VoiceChannel)
    await server.edit(afk_channel=studio)
    await guild.move_bot(guild.studio)
    await eventually(lambda: guild.bot_is_in == guild.studio.id)
    assert SPOKEN in (await last_word(await ada.says(2, 0.5)) or "")


async def test_a_member_who_is_muted_while_the_bot_joins_is_not_heard(
    guild: VoiceGuild, ada: Speaker
) -> None:
    answer = await ada.says(1, 0.5)
    ada.is_moderated(mute=True)
    assert await last_word(answer) == MUTED
    assert not guild.call.packets


async def test_only_where_the_servers_admins_let_the_bot_speak(
    guild: VoiceGuild, ada: Speaker
) -> None:
    await guild.server.bot.policy.settings.change(
        guild.handle.id, lambda before: replace(before, voice_channels=frozenset({guild.lounge.id}))
    )
    assert SPOKEN in (await last_word(await ada.says(1, 0.5)) or "")
    await ada.goes_to(guild.studio)
    only = f"In this server, I speak only in <#{guild.lounge.id}>."
    assert (await last_word(await ada.says(2, 0.5)) or "").startswith(only)
    assert (await told(ada, "join")).startswith(only)
    assert guild.bot_is_in == guild.lounge.id
