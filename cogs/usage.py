"""`/usage`: what was used today, of what may be used. What is being used is renewed."""

from __future__ import annotations

import discord
from discord import app_commands
from discord.ext import commands, tasks

from bot.client import Interaction, VoiceBot
from bot.guilds.access import Action
from bot.guilds.counting import EVERYBODY
from bot.guilds.ledger import RENEW_SECONDS
from bot.guilds.records import DayUsage, Scope
from bot.interface.typed_text import as_text
from bot.interface.usage_card import usage_card

TOP_SERVERS = 5


class Usage(commands.Cog):
    """What was used."""

    def __init__(self, bot: VoiceBot) -> None:
        self.bot = bot

    @commands.Cog.listener()
    async def on_connect(self) -> None:
        """Begin to renew. Called by discord.py whenever a shard has connected.

        Members of its servers can use commands from then on, however long other shards take.
        """
        if not self._renew.is_running():
            self._renew.start()

    async def cog_unload(self) -> None:
        """End. Called by discord.py when the bot closes."""
        self._renew.cancel()

    @tasks.loop(seconds=RENEW_SECONDS)
    async def _renew(self) -> None:
        self.bot.policy.ledger.renew()

    @app_commands.command(description="Show how much speech you have left today")
    async def usage(self, interaction: Interaction) -> None:
        """One's own; for managers also the server's; for operators also everybody's."""
        async with self.bot.reply(interaction, Action.OWN) as reply:
            usage, actor = self.bot.policy.usage, reply.actor
            limits = await self.bot.policy.limits_in(actor.guild_id)
            is_operator = self.bot.policy.is_operator(actor.user_id)
            mine = await usage.today(Scope.PERSON, actor.user_id)
            parts = [("You", mine, limits.seconds_per_person)]
            if actor.guild_id is not None and (actor.is_manager or is_operator):
                servers = await usage.today(Scope.SERVER, actor.guild_id)
                parts.append(("This server", servers, limits.seconds_per_server))
            top: list[tuple[str, DayUsage]] = []
            if is_operator:
                everybodys = await usage.today(Scope.ALL, EVERYBODY)
                parts.append(("Everybody", everybodys, limits.seconds_in_all))
                largest = await usage.top_servers(TOP_SERVERS)
                top = [(self._name_of(each.scope_id), each) for each in largest]
            await reply.show(embed=usage_card(discord.utils.utcnow(), parts, top))

    def _name_of(self, guild_id: int) -> str:
        """A server's name, or its id where another process serves it."""
        guild = self.bot.get_guild(guild_id)
        return as_text(guild.name) if guild is not None else f"`{guild_id}`"


async def setup(bot: VoiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    await bot.add_cog(Usage(bot))
