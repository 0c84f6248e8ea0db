"""`/verify`: whether the bot made a recording."""

from __future__ import annotations

import discord
from discord import app_commands
from discord.ext import commands

from bot.client import Interaction, VoiceBot
from bot.guilds.access import Action
from bot.guilds.records import WorkKind
from bot.interface.options import caller_of
from bot.interface.uploads import download
from bot.interface.wording.recordings import verdict_on
from bot.verification import COUNTED_SECONDS


class Verify(commands.Cog):
    """Looks for the watermark."""

    def __init__(self, bot: VoiceBot) -> None:
        self.bot = bot

    @app_commands.command(description="Check whether I made a recording")
    @app_commands.describe(audio="The recording: wav, mp3, m4a, ogg, flac, webm or mp4")
    async def verify(self, interaction: Interaction, audio: discord.Attachment) -> None:
        """Search the recording, and tell the person alone."""
        verification = self.bot.verification
        async with self.bot.reply(interaction, Action.OTHER) as reply:
            verification.marking_backend()  # refuse at once what can't be told here
            work = await reply.begin(WorkKind.REQUEST, COUNTED_SECONDS)
            upload = await download(audio)
            verdict = await reply.work(
                lambda progress: verification.search(
                    upload,
                    caller=caller_of(interaction),
                    on_step=progress.step,
                    on_speech=work.made,
                )
            )
            await reply.finish(verdict_on(is_marked=verdict.is_marked, goes_on=verdict.goes_on))


async def setup(bot: VoiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    await bot.add_cog(Verify(bot))
