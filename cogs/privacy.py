"""`/privacy`: get what is kept about oneself, or have it deleted, which `/forget` does too."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from discord import app_commands
from discord.ext import commands

from bot.client import Interaction, VoiceBot
from bot.errors import Reason, Refusal
from bot.guilds.access import Action
from bot.guilds.records import AuditAction
from bot.interface import cards
from bot.interface.views import ask_to_delete
from bot.interface.wording import export as export_wording

if TYPE_CHECKING:
    from bot.interface.progress import Progress
    from bot.interface.reply import Reply


class Privacy(commands.GroupCog, group_name="privacy", group_description="What I keep about you"):
    """What a person can do with all that is kept about them."""

    def __init__(self, bot: VoiceBot) -> None:
        self.bot = bot

    @app_commands.command(description="Get a copy of everything I keep about you")
    async def export(self, interaction: Interaction) -> None:
        """Send it as zip archives that only the person sees."""
        async with self.bot.reply(interaction, Action.OWN) as reply:
            if not await self.bot.exports.has_any(interaction.user.id):
                raise Refusal(Reason.NOTHING_TO_EXPORT)
            archives = await reply.work(
                lambda progress: self._send(reply, progress), stopped=Reason.EXPORT_STOPPED
            )
            await reply.finish(export_wording.sent(archives))

    async def _send(self, reply: Reply, progress: Progress) -> int:
        """Send each archive as soon as it is packed; return how many there were."""
        packed = self.bot.exports.archives(
            reply.owner.id,
            max_bytes=reply.max_file_bytes,
            on_file=lambda number, total: progress.say(export_wording.packing(number, total)),
        )
        sent = 0
        async with aclosing(packed):
            async for archive in packed:
                await reply.send_privately(archive.name, archive.data)
                sent += 1
        return sent

    @app_commands.command(description="Delete everything I keep about you")
    async def delete(self, interaction: Interaction) -> None:
        """Ask, then delete."""
        await _delete_everything(self.bot, interaction)


class Forget(commands.Cog):
    """The short name of `/privacy delete`."""

    def __init__(self, bot: VoiceBot) -> None:
        self.bot = bot

    @app_commands.command(description="Delete everything I keep about you")
    async def forget(self, interaction: Interaction) -> None:
        """Ask, then delete."""
        await _delete_everything(self.bot, interaction)


async def _delete_everything(bot: VoiceBot, interaction: Interaction) -> None:
    """Ask, then delete the person's voices, dictionary, consent records and audit log."""
    async with bot.reply(interaction, Action.OWN) as reply:
        library, policy, person = bot.library, bot.policy, interaction.user.id
        is_known = await library.keeps_anything_about(person)
        if not is_known and not await policy.keeps_anything_about(person):
            raise Refusal(Reason.NOTHING_KEPT)
        everything = ask_to_delete(
            "all your voices, their recordings, the words of your dictionary, your consent "
            "records, and what I know about how you used me",
            follows=cards.WHAT_STAYS,
            is_own=True,
        )
        if not await reply.ask(everything):
            raise Refusal(Reason.EVERYTHING_KEPT)
        await bot.enforcement.end_cloning_of(person)
        # Before the voices, so that no request over HTTP saves one after them.
        had_key = await policy.api_keys.forget(person)
        forgotten = await library.forget(person)
        bot.players.end_voice(person)
        use = await policy.forget(person)
        policy.audit.note(AuditAction.FORGOT, actor_id=None, guild_id=interaction.guild_id)
        # The log was emptied again after that, and holds nothing of the voices either.
        forgotten = replace(forgotten, is_complete=use.is_complete)
        await reply.show(cards.forgotten(forgotten, had_use=use.had_any or had_key))


async def setup(bot: VoiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    await bot.add_cog(Privacy(bot))
    await bot.add_cog(Forget(bot))
