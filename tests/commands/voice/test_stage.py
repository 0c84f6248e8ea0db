"""Stage channels: the bot steps up or asks to speak, and waits while a moderator keeps it quiet."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import discord
import pytest

from tests.support.marked_speech import unheard_seconds
from tests.support.voice_guild import SPOKEN, eventually, last_word
from tests.support.voice_words import told, waits_for

if TYPE_CHECKING:
    from simcord.builders import ChannelHandle

    from tests.support.voice_guild import Speaker, VoiceGuild

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning"),  # discord.py
]

WAITING = "Waiting for a moderator to let me speak"
LOST_SECONDS = 0.15
SECONDS_TO_WAIT_FOR_A_KEY = 5.0
"""In another channel, the bot waits at least so long for a key that doesn't come."""


@pytest.fixture
async def stage(guild: VoiceGuild) -> ChannelHandle:
    """A stage that the bot may only ask to speak on."""
    made = guild.handle.create_stage_channel("stage")
    await eventually(lambda: guild.channel.guild.get_channel(made.id))
    await let_bot(guild, made, mute_members=False)
    return made


async def let_bot(guild: VoiceGuild, stage: ChannelHandle, **permissions: Any) -> None:
    channel = guild.channel.guild.get_channel(stage.id)
    assert isinstance(channel, discord.StageChannel)
    await channel.set_permissions(channel.guild.me, **permissions)


def requests(guild: VoiceGuild) -> list[Any]:
    """What the bot has asked Discord for about the stage."""
    return guild.server.requests("PATCH", "/voice-states/@me")


async def test_a_bot_that_may_steps_up_once(
    guild: VoiceGuild, stage: ChannelHandle, ada: Speaker
) -> None:
    await let_bot(guild, stage, mute_members=True)
    await ada.goes_to(stage)
    assert (await told(ada, "join")).startswith(f"I'm in <#{stage.id}>.")
    assert SPOKEN in (await last_word(await ada.says(1, 0.5)) or "")
    [request] = requests(guild)
    assert request["suppress"] is False


async def test_a_bot_that_may_not_asks_and_speaks_when_it_is_let(
    guild: VoiceGuild, stage: ChannelHandle, ada: Speaker
) -> None:
    await ada.goes_to(stage)
    answer = await ada.says(1, 3.0)
    await waits_for(answer, WAITING)
    [request] = requests(guild)
    assert request["request_to_speak_timestamp"]
    assert "suppress" not in request
    assert (await told(ada, "join")).startswith(f"I asked to speak on the stage <#{stage.id}>.")
    assert not guild.call.packets
    guild.moderate_bot(suppress=False)
    await guild.call.begins()
    assert (await told(ada, "join")).startswith(f"I'm in <#{stage.id}>."), "it need not ask now"
    assert SPOKEN in (await last_word(answer) or "")


async def test_a_bot_that_is_sent_into_the_audience_goes_on_when_it_is_let_again(
    guild: VoiceGuild, stage: ChannelHandle, ada: Speaker
) -> None:
    await ada.goes_to(stage)
    answer = await ada.says(1, 3.0)
    await waits_for(answer, WAITING)
    guild.moderate_bot(suppress=False)
    await guild.call.begins()
    guild.moderate_bot(suppress=True)
    await asyncio.sleep(0.5)
    sent = len(guild.call.packets)
    await asyncio.sleep(0.5)
    assert len(guild.call.packets) == sent, "what nobody can hear waits"
    guild.moderate_bot(suppress=False)
    assert SPOKEN in (await last_word(answer) or "")
    assert unheard_seconds(await guild.call.heard(seconds=0.2), 1, 3.0) <= LOST_SECONDS


async def test_a_bot_that_is_dragged_onto_a_stage_asks_to_speak_there(
    guild: VoiceGuild, stage: ChannelHandle, ada: Speaker
) -> None:
    said = await ada.says(1, 3.0)
    await guild.call.begins()
    assert not requests(guild)
    await guild.move_bot(stage)
    await eventually(lambda: requests(guild))
    assert (await last_word(said) or "").startswith("I was moved to another voice channel")
    await ada.goes_to(stage)
    answer = await ada.says(2, 1.0)
    await waits_for(answer, WAITING)
    guild.moderate_bot(suppress=False)
    assert SPOKEN in (await last_word(answer) or "")
    heard = await guild.call.heard(seconds=0.2)
    assert unheard_seconds(heard, 2, 1.0) <= LOST_SECONDS


async def test_nobody_waits_for_a_key_on_a_stage(stage: ChannelHandle, ada: Speaker) -> None:
    """A stage is not end-to-end encrypted."""
    await ada.goes_to(stage)
    began = time.time()
    await told(ada, "join")
    assert time.time() - began < SECONDS_TO_WAIT_FOR_A_KEY
