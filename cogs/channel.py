"""Voice channels: `/join`, `/leave`, `/queue`, `/skip` and `/stop`."""

from __future__ import annotations

from dataclasses import dataclass

import discord
from discord import app_commands
from discord.ext import commands

from bot.client import Interaction, VoiceBot
from bot.errors import Refusal
from bot.interface import speaking, wording
from bot.interface.pages import Pages
from bot.interface.reply import Reply
from bot.playback.permissions import (
    VocalChannel,
    listeners_in,
    may_move,
    may_silence,
    people_in,
)
from bot.playback.player import GuildPlayer
from bot.playback.queue import QueuedItem

NOT_HERE = "I am not in a voice channel. Join one yourself, then use `/say` or `/join`."
NOTHING_TO_END = "I am not saying anything."
SPEAKING_FOR_OTHERS = "I am still speaking for others."
OTHERS_LISTEN = "Others are still listening to me."
VOTED_OUT = "The listeners voted to skip this."


@dataclass(frozen=True, slots=True)
class Scene:
    """What a command is about: the bot in a voice channel, and the member who wants something."""

    player: GuildPlayer
    channel: VocalChannel
    member: discord.Member


class Channel(commands.Cog):
    """What people can do about the bot in a voice channel."""

    def __init__(self, bot: VoiceBot) -> None:
        self.bot = bot

    @commands.Cog.listener()
    async def on_voice_state_update(
        self, member: discord.Member, _before: discord.VoiceState, after: discord.VoiceState
    ) -> None:
        """Called by discord.py whenever somebody joins, leaves, or is moved or muted."""
        if member == member.guild.me:
            self.bot.players.take_note(member.guild.id, left=after.channel is None)
        player = self.bot.players.find(member.guild.id)
        if player is not None and player.votes and player.current is not None:
            _skip_if_voted(player, player.current)  # with fewer listeners, fewer votes suffice

    @app_commands.command(description="Bring me into your voice channel")
    @app_commands.guild_only()
    async def join(self, interaction: Interaction) -> None:
        """Go where the member is, unless that takes the bot away from others."""
        async with Reply(interaction) as reply:
            channel = speaking.voice_channel_of(interaction.user)
            if channel is None or not isinstance(interaction.user, discord.Member):
                raise Refusal("Join a voice channel first, then use `/join` again.")
            player = self.bot.players.find(channel.guild.id)
            here = player.connection.channel if player is not None else None
            if here is None or not may_move(interaction.user, here):
                speaking.check_not_elsewhere(player, channel)
            remark = await self.bot.players.join(channel)
            await reply.show(remark or f"I am in {channel.mention}. Use `/say`, and I speak there.")

    @app_commands.command(description="Send me out of the voice channel")
    @app_commands.guild_only()
    async def leave(self, interaction: Interaction) -> None:
        """Leave, unless others still listen or wait for something."""
        async with Reply(interaction) as reply:
            scene = self._scene(interaction)
            others_wait = any(item.owner_id != scene.member.id for item in scene.player.items)
            is_here = scene.member.id in people_in(scene.channel)
            others_listen = people_in(scene.channel) and not is_here
            if not may_move(scene.member, scene.channel) and (others_wait or others_listen):
                raise Refusal(
                    f"{SPEAKING_FOR_OTHERS if others_wait else OTHERS_LISTEN} Wait until they are "
                    "done, or ask somebody who has the permission Move Members."
                )
            reason = f"{wording.as_text(scene.member.display_name)} used `/leave`."
            await scene.player.close(Refusal(reason))
            await reply.show(f"I have left {scene.channel.mention}.")

    @app_commands.command(description="Show what I am saying, and what comes next")
    @app_commands.guild_only()
    async def queue(self, interaction: Interaction) -> None:
        """Who said what, and when it will be heard."""

        async def render(page: int) -> tuple[str, int]:
            return speaking.queue_page(self.bot.players.find(interaction.guild_id), page)

        async with Reply(interaction):
            await Pages(render).show(interaction)

    @app_commands.command(description="Skip what I am saying: yours at once, others' by vote")
    @app_commands.guild_only()
    async def skip(self, interaction: Interaction) -> None:
        """End the current item if the member owns it or may silence others; else count a vote."""
        async with Reply(interaction) as reply:
            scene = self._scene(interaction)
            item = scene.player.current
            if item is None:
                raise Refusal(NOTHING_TO_END)
            name = wording.as_text(scene.member.display_name)
            if item.owner_id == scene.member.id:
                scene.player.remove(item, Refusal("Skipped, as you asked."))
            elif may_silence(scene.member, scene.channel):
                scene.player.remove(item, Refusal(f"{name} skipped this."))
            else:
                _vote(scene)
                missing = _skip_if_voted(scene.player, item)
                if missing > 0:
                    votes = "vote" if missing == 1 else "votes"
                    await reply.show(f"Your vote counts. {missing} more {votes} and I skip this.")
                    return
            await reply.show("Skipped.")

    @app_commands.command(description="Stop speaking, and forget what waits: yours, or everything")
    @app_commands.guild_only()
    async def stop(self, interaction: Interaction) -> None:
        """Clear the queue: all of it for members who may silence others, else only their own."""
        async with Reply(interaction) as reply:
            scene = self._scene(interaction)
            name = wording.as_text(scene.member.display_name)
            if may_silence(scene.member, scene.channel):
                count = scene.player.clear(Refusal(f"{name} stopped everything."))
                whose = ""
            else:
                count = scene.player.clear(
                    Refusal("Stopped, as you asked."), owner_id=scene.member.id
                )
                whose = " of yours"
            if count == 0:
                raise Refusal(
                    f"Nothing{whose} is being said or waits to be." if whose else NOTHING_TO_END
                )
            what = "1 item" if count == 1 else f"{count} items"
            await reply.show(f"Stopped. {what}{whose} will not be said.")

    def _scene(self, interaction: Interaction) -> Scene:
        """Raises `Refusal` if the bot is in no voice channel of the guild."""
        player = self.bot.players.find(interaction.guild_id)
        channel = player.connection.channel if player is not None else None
        if player is None or channel is None or not isinstance(interaction.user, discord.Member):
            raise Refusal(NOT_HERE)
        return Scene(player, channel, interaction.user)


def _vote(scene: Scene) -> None:
    """Count the member's vote to skip the current item. Raises `Refusal` if they do not listen."""
    if scene.member.id not in listeners_in(scene.channel):
        raise Refusal(f"Only who listens in {scene.channel.mention} can vote to skip.")
    scene.player.votes.add(scene.member.id)


def _skip_if_voted(player: GuildPlayer, item: QueuedItem) -> int:
    """Skip an item once over half of those who listen want that; return how many votes it lacks."""
    channel = player.connection.channel
    listeners = set(listeners_in(channel)) if channel is not None else set()
    missing = len(listeners) // 2 + 1 - len(player.votes & listeners)
    if missing <= 0:
        player.remove(item, Refusal(VOTED_OUT))
    return missing


async def setup(bot: VoiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    await bot.add_cog(Channel(bot))
