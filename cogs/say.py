"""`/say`: speak with a saved voice."""

from __future__ import annotations

from discord import app_commands
from discord.ext import commands

from backend.contract import AUTO_LANGUAGE
from bot.client import Interaction, VoiceBot
from bot.errors import Refusal
from bot.interface import wording
from bot.interface.attachments import ReplyFormat, SpeechAttachment
from bot.interface.options import FORMAT_CHOICES, LANGUAGE_CHOICES, name_resolver, suggest_voices
from bot.interface.reply import Reply
from bot.text import MAX_TEXT_CHARACTERS
from bot.voices.names import MAX_NAME_CHARACTERS
from bot.voices.records import SavedVoice


class Say(commands.Cog):
    """From text to speech."""

    def __init__(self, bot: VoiceBot) -> None:
        self.bot = bot

    @app_commands.command(description="Say something with one of your voices")
    @app_commands.describe(
        text="What the voice should say",
        voice="Which of your voices; without it, the one you used last",
        language="The language of the text; without it, the one the voice was made with",
        format="The kind of file",
    )
    @app_commands.choices(language=LANGUAGE_CHOICES, format=FORMAT_CHOICES)
    @app_commands.autocomplete(voice=suggest_voices)
    async def say(
        self,
        interaction: Interaction,
        text: app_commands.Range[str, 1, MAX_TEXT_CHARACTERS],
        voice: app_commands.Range[str, 1, MAX_NAME_CHARACTERS] | None = None,
        language: str | None = None,
        format: str = ReplyFormat.OGG.value,  # noqa: A002 - the option's name in Discord
    ) -> None:
        """Speak sentence by sentence, and post one file."""
        studio = self.bot.studio
        async with Reply(interaction) as reply:
            reply.claim_place()
            saved = await self._voice(interaction.user.id, voice)
            spoken = language or saved.language or AUTO_LANGUAGE
            sentences = await studio.script(
                text, language=spoken, name_of=name_resolver(interaction)
            )
            speech = await reply.work(
                lambda progress: studio.speak_saved(
                    sentences, saved, language=spoken, on_sentence=progress.sentence
                )
            )
            if not await self.bot.library.touch(saved):
                raise Refusal("That voice was deleted meanwhile, so nothing was posted.")
            await reply.post(
                wording.spoken_message(
                    wording.voice_name(saved.name), text, notice=studio.backend.notice
                ),
                SpeechAttachment(speech, ReplyFormat(format), self.bot.encoding_turns),
            )
            await reply.finish()

    async def _voice(self, owner_id: int, name: str | None) -> SavedVoice:
        if name is not None:
            return await self.bot.library.find(owner_id, name)
        saved = await self.bot.library.default_for(owner_id)
        if saved is None:
            raise Refusal(wording.NO_VOICE_YET)
        return saved


async def setup(bot: VoiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    await bot.add_cog(Say(bot))
