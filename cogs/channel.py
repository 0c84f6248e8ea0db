"""Voice channels: `/join`, `/leave`, `/queue`, `/skip` and `/stop`."""

from __future__ import annotations

import discord
from discord import app_commands
from discord.ext import commands

from bot.client import Interaction, VoiceBot
from bot.errors import Reason, Refusal
from bot.guilds.access import Action
from bot.interface import voice_channels
from bot.interface.options import in_servers_only
from bot.interface.views import Pages
from bot.interface.wording import sentences as wording
from bot.playback.permissions import VocalChannel, listeners_in, may_move, may_silence, people_in
from bot.playback.player import GuildPlayer


class Channel(commands.Cog):
    """What people can do about the bot in a voice channel."""

    def __init__(self, bot: VoiceBot) -> None:
        self.bot = bot

    @commands.Cog.listener()
    async def on_voice_state_update(
        self, member: discord.Member, before: discord.VoiceState, after: discord.VoiceState
    ) -> None:
        """Called by discord.py whenever somebody joins, leaves, or is moved or muted."""
        guild_id = member.guild.id
        if self.bot.user is not None and member.id == self.bot.user.id:
            # `after` is not a copy. Both are None if the bot has arrived, and left a moment later.
            self.bot.players.own_voice_state_changed(
                guild_id,
                channel_id=after.channel.id if after.channel is not None else None,
                left=after.channel is None and before.channel is not None,
            )
        self.bot.players.voice_state_changed(guild_id)
        player = self.bot.players.find(guild_id)
        if player is not None and player.votes:
            _skip_if_voted(player)  # with fewer listeners, fewer votes suffice
        if before.channel is not None and after.channel is None:
            await self.bot.players.left_voice(guild_id, member.id)

    @commands.Cog.listener()
    async def on_guild_channel_update(
        self, _before: discord.abc.GuildChannel, after: discord.abc.GuildChannel
    ) -> None:
        """Called by discord.py when a channel changes: perhaps somebody may not speak there now."""
        self.bot.players.check_speakers(after.guild.id)

    @commands.Cog.listener()
    async def on_guild_role_update(self, _before: discord.Role, after: discord.Role) -> None:
        """Called by discord.py when a role changes: perhaps its members may not speak now."""
        self.bot.players.check_speakers(after.guild.id)

    @commands.Cog.listener()
    async def on_guild_update(self, _before: discord.Guild, after: discord.Guild) -> None:
        """Called by discord.py when a server changes: perhaps it has another AFK channel."""
        self.bot.players.check_speakers(after.id)

    @app_commands.command(description="Bring me into your voice channel")
    @in_servers_only
    async def join(self, interaction: Interaction) -> None:
        """Go where the member is, unless that takes the bot away from others."""
        players = self.bot.players
        last_dismissal = players.last_dismissal(interaction.guild_id)
        async with self.bot.reply(interaction, Action.SPEAK) as reply:
            member = interaction.user
            allowed = await self.bot.policy.channels_to_speak_in(reply.actor)
            channel = voice_channels.channel_to_join(member, allowed)
            assert isinstance(member, discord.Member)  # noqa: S101 - others are in no channel
            note = await players.join(
                channel,
                last_dismissal=last_dismissal,
                check=lambda: voice_channels.check_may_call(member, channel, players),
            )
            await reply.show(
                wording.note(note)
                if note is not None
                else f"I'm in {channel.mention}. Use `/say` and I'll speak there."
            )

    @app_commands.command(description="Make me leave the voice channel")
    @in_servers_only
    async def leave(self, interaction: Interaction) -> None:
        """Leave, unless others still listen or wait for something."""
        async with self.bot.reply(interaction, Action.OWN) as reply:
            player, channel, member = self._bot_in_channel(interaction)
            if not may_move(member, channel):
                if any(entry.owner_id != member.id for entry in player.entries):
                    raise Refusal(Reason.OTHERS_WAIT)
                people = people_in(channel)
                if people and member.id not in people:
                    raise Refusal(Reason.OTHERS_LISTEN)
            await player.dismiss(Refusal(Reason.SENT_AWAY_BY, name=member.display_name))
            await reply.show(f"I left {voice_channels.name_for(member, channel)}.")

    @app_commands.command(description="Show what I'm saying and what comes next")
    @in_servers_only
    async def queue(self, interaction: Interaction) -> None:
        """Who said what, and when it will be heard."""

        async def render(asking: Interaction, page: int) -> tuple[str, int]:
            player = self.bot.players.find(asking.guild_id)
            return voice_channels.queue_page(player, asking.user, page)

        async with self.bot.reply(interaction, Action.OWN):
            await Pages(render).show(interaction)

    @app_commands.command(description="Skip what I'm saying (yours at once, others' by vote)")
    @in_servers_only
    async def skip(self, interaction: Interaction) -> None:
        """End the current entry if the member owns it or may silence others; else count a vote."""
        async with self.bot.reply(interaction, Action.OWN) as reply:
            player, channel, member = self._bot_in_channel(interaction)
            if player.current is None:
                raise Refusal(Reason.NOTHING_PLAYING)
            if player.current.owner_id == member.id:
                player.remove(player.current, Refusal(Reason.SKIPPED))
            elif may_silence(member, channel):
                player.remove(player.current, Refusal(Reason.SKIPPED_BY, name=member.display_name))
            else:
                if member.id not in listeners_in(channel):
                    where = voice_channels.name_for(member, channel)
                    raise Refusal(Reason.ONLY_LISTENERS_VOTE, channel=where)
                player.votes.add(member.id)
                missing = _skip_if_voted(player)
                if missing > 0:
                    votes = "vote" if missing == 1 else "votes"
                    await reply.show(f"Your vote counts. {missing} more {votes} to skip this.")
                    return
            await reply.show("Skipped.")

    @app_commands.command(description="Clear your queued speech (moderators: everyone's)")
    @in_servers_only
    async def stop(self, interaction: Interaction) -> None:
        """Clear the queue: all of it for members who may silence others, else only their own."""
        async with self.bot.reply(interaction, Action.OWN) as reply:
            player, channel, member = self._bot_in_channel(interaction)
            if may_silence(member, channel):
                whose, nothing = "", Reason.NOTHING_PLAYING
                count = player.clear(Refusal(Reason.ALL_STOPPED_BY, name=member.display_name))
            else:
                whose, nothing = " of yours", Reason.NOTHING_OF_YOURS_PLAYING
                count = player.clear(
                    Refusal(Reason.SPEECH_STOPPED), where=lambda entry: entry.owner_id == member.id
                )
            if count == 0:
                raise Refusal(nothing)
            what = "1 item" if count == 1 else f"{count} items"
            await reply.show(f"Stopped. I cleared {what}{whose}.")

    def _bot_in_channel(
        self, interaction: Interaction
    ) -> tuple[GuildPlayer, VocalChannel, discord.Member]:
        """The guild's player, the bot's voice channel, and the member who used the command.

        Raises `Refusal` if the bot is in no voice channel of the guild, or is reconnecting.
        """
        voice_channels.check_knows_voice(interaction.user)
        player = self.bot.players.find(interaction.guild_id)
        channel = player.connection.channel if player is not None else None
        if player is None or channel is None or not isinstance(interaction.user, discord.Member):
            raise Refusal(Reason.NOT_IN_A_CHANNEL)
        return player, channel, interaction.user


def _skip_if_voted(player: GuildPlayer) -> int:
    """Skip the current entry once over half of those who listen want that.

    Returns how many votes it lacks.
    """
    channel = player.connection.channel
    listeners = set(listeners_in(channel)) if channel is not None else set()
    missing = len(listeners) // 2 + 1 - len(player.votes & listeners)
    if missing <= 0 and player.current is not None:
        player.remove(player.current, Refusal(Reason.SKIPPED_BY_VOTE))
    return missing


async def setup(bot: VoiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    await bot.add_cog(Channel(bot))
