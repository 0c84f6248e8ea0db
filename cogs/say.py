"""`/say`, and the message menu "Speak this message"."""

from __future__ import annotations

import discord
from discord import app_commands
from discord.ext import commands

from bot.client import Interaction, VoiceBot
from bot.errors import Reason, Refusal
from bot.interface.delivery.attachment import ReplyFormat
from bot.interface.message_texts import source_of, text_of
from bot.interface.options import (
    FORMAT_CHOICES,
    LANGUAGE_CHOICES,
    MAX_SPEED,
    MIN_SPEED,
    WHERE_CHOICES,
    suggest_voices,
)
from bot.speaking.script import SayRequest
from bot.text import MAX_TEXT_CHARACTERS
from bot.voices.rights import MAX_REFERENCE_CHARACTERS

MENU = "Speak this message"


class Say(commands.Cog):
    """From text to speech."""

    def __init__(self, bot: VoiceBot) -> None:
        self.bot = bot
        self._menu = app_commands.ContextMenu(name=MENU, callback=self._say_message)

    async def cog_load(self) -> None:
        """Add the message menu, which discord.py doesn't find by itself."""
        self.bot.tree.add_command(self._menu)

    async def cog_unload(self) -> None:
        """Take the message menu away again."""
        self.bot.tree.remove_command(self._menu.name, type=self._menu.type)

    @app_commands.command(description="Say something with your voice, or one shared with you")
    @app_commands.describe(
        text="What the voice should say",
        voice="Yours, or one shared with you here; leave it out for the one you used last",
        where="Leave it out: I speak in your voice channel if you're in one, otherwise as a file",
        language="The language of the text; leave it out for the one the voice was made with",
        format="Post a file of this kind. With a voice channel in `where`, I do both",
        speed="From 0.5 (half as fast) to 2 (twice as fast); leave it out for the voice's own",
    )
    @app_commands.choices(language=LANGUAGE_CHOICES, format=FORMAT_CHOICES, where=WHERE_CHOICES)
    @app_commands.autocomplete(voice=suggest_voices)
    async def say(  # noqa: PLR0913, PLR0917 - the options of the slash command
        self,
        interaction: Interaction,
        text: app_commands.Range[str, 1, MAX_TEXT_CHARACTERS],
        voice: app_commands.Range[str, 1, MAX_REFERENCE_CHARACTERS] | None = None,
        where: str | None = None,
        language: str | None = None,
        format: str | None = None,  # noqa: A002 - the option's name in Discord
        speed: app_commands.Range[float, MIN_SPEED, MAX_SPEED] | None = None,
    ) -> None:
        """Speak as a file in the channel, or in the person's voice channel."""
        request = SayRequest(
            text,
            voice=voice,
            where=where,
            language=language,
            reply_format=ReplyFormat(format) if format else None,
            speed=speed,
        )
        await self.bot.speaking.say(interaction, request)

    async def _say_message(self, interaction: Interaction, message: discord.Message) -> None:
        """Read the message whose menu it is aloud, with the person's default voice."""
        text = text_of(message, bot=self.bot.user)
        if not text:
            raise Refusal(Reason.MESSAGE_WITHOUT_TEXT)
        request = SayRequest(text, message=message, source=source_of(message))
        await self.bot.speaking.say(interaction, request)


async def setup(bot: VoiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    await bot.add_cog(Say(bot))
