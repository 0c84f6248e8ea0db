"""`/clone`, and the message menu "Clone this voice"."""

from __future__ import annotations

import discord
from discord import app_commands
from discord.ext import commands

from backend.contract import AUTO_LANGUAGE, MAX_TRANSCRIPT_CHARACTERS
from bot.client import Interaction, VoiceBot
from bot.cloning import CloneRequest
from bot.errors import Reason, Refusal
from bot.guilds.access import Action
from bot.interface.actors import actor_of
from bot.interface.clone_form import CloneAnswers, CloneForm
from bot.interface.options import LANGUAGE_CHOICES, PERMISSION_CHOICES
from bot.interface.uploads import recordings_in
from bot.interface.views import before_form
from bot.text import MAX_TEXT_CHARACTERS
from bot.voices.consent import Permission
from bot.voices.names import MAX_NAME_CHARACTERS

MENU = "Clone this voice"


class Clone(commands.Cog):
    """From a recording to a voice."""

    def __init__(self, bot: VoiceBot) -> None:
        self.bot = bot
        self._menu = app_commands.ContextMenu(name=MENU, callback=self._clone_message)

    async def cog_load(self) -> None:
        """Add the message menu, which discord.py doesn't find by itself."""
        self.bot.tree.add_command(self._menu)

    async def cog_unload(self) -> None:
        """Take the message menu away again."""
        self.bot.tree.remove_command(self._menu.name, type=self._menu.type)

    @app_commands.command(description="Make a voice from a recording and hear it say something")
    @app_commands.describe(
        audio="3 to 30 seconds of one person speaking: wav, mp3, m4a, ogg, flac, webm or mp4",
        permission=(
            "Whose voice is it? By choosing, you also promise not to deceive or harm anyone with it"
        ),
        name="Keep the voice under this name for /say; leave it out to only try the voice",
        text="What the voice should say; leave it out and it says hello",
        transcript="Exactly what's said in the recording, if you know it; it helps",
        language="The language of the text; leave it out and I'll tell by myself",
    )
    @app_commands.choices(permission=PERMISSION_CHOICES, language=LANGUAGE_CHOICES)
    async def clone(  # noqa: PLR0913, PLR0917 - the options of the slash command
        self,
        interaction: Interaction,
        audio: discord.Attachment,
        permission: str,
        name: app_commands.Range[str, 1, MAX_NAME_CHARACTERS] | None = None,
        text: app_commands.Range[str, 1, MAX_TEXT_CHARACTERS] | None = None,
        transcript: app_commands.Range[str, 1, MAX_TRANSCRIPT_CHARACTERS] | None = None,
        language: str = AUTO_LANGUAGE,
    ) -> None:
        """Make the voice, and let it speak."""
        request = CloneRequest(
            audio,
            Permission(permission),
            name=name,
            text=text,
            transcript=transcript,
            language=language,
        )
        await self.bot.cloning.clone(interaction, request)

    async def _clone_message(self, interaction: Interaction, message: discord.Message) -> None:
        """Ask what `/clone` has options for, in a form, about the message whose menu it is."""
        await before_form(self.bot.policy.check(actor_of(interaction), Action.CLONE))
        if self.bot.user is not None and message.author.id == self.bot.user.id:
            raise Refusal(Reason.MESSAGE_IS_SPEECH)
        recordings = recordings_in(message)
        if not recordings:
            raise Refusal(Reason.MESSAGE_WITHOUT_RECORDING)
        form = CloneForm(recordings, on_answer=self._clone_recording)
        await interaction.response.send_modal(form)

    async def _clone_recording(self, interaction: Interaction, answers: CloneAnswers) -> None:
        """Make the voice as `/clone` does."""
        request = CloneRequest(
            answers.recording,
            answers.permission,
            name=answers.name,
            text=answers.text,
            transcript=answers.transcript,
        )
        await self.bot.cloning.clone(interaction, request)


async def setup(bot: VoiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    await bot.add_cog(Clone(bot))
