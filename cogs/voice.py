"""`/voice`: look after saved voices."""

from __future__ import annotations

from functools import partial

from discord import app_commands
from discord.ext import commands

from bot.client import Interaction, VoiceBot
from bot.errors import Reason, Refusal
from bot.guilds.access import Action
from bot.guilds.records import AuditAction, WorkKind
from bot.interface import cards
from bot.interface.actors import actor_of
from bot.interface.message_links import MAX_LINK_CHARACTERS
from bot.interface.options import suggest_voices
from bot.interface.typed_text import voice_name
from bot.interface.views import Pages, TranscriptForm, ask_to_delete, before_form
from bot.voices.names import MAX_NAME_CHARACTERS
from bot.voices.records import SavedVoice

VOICES_PER_PAGE = 10

VoiceName = app_commands.Range[str, 1, MAX_NAME_CHARACTERS]


class Voice(commands.GroupCog, group_name="voice", group_description="Look after your voices"):
    """What a person can do with the voices they saved, which nobody else can see or use.

    And with a voice that somebody else saved, though it is theirs.
    """

    def __init__(self, bot: VoiceBot) -> None:
        self.bot = bot

    @app_commands.command(name="list", description="Show the voices you saved")
    async def list_voices(self, interaction: Interaction) -> None:
        """One line a voice, a page at a time."""

        async def render(asking: Interaction, page: int) -> tuple[str, int]:
            offset = page * VOICES_PER_PAGE
            shown = await self.bot.library.page(
                asking.user.id, offset=offset, limit=VOICES_PER_PAGE
            )
            return cards.voice_list(shown.voices, page, shown.total, VOICES_PER_PAGE)

        async with self.bot.reply(interaction, Action.OWN):
            await Pages(render).show(interaction)

    @app_commands.command(description="Show what I keep about one of your voices")
    @app_commands.describe(voice="One of your voices")
    @app_commands.autocomplete(voice=suggest_voices)
    async def info(self, interaction: Interaction, voice: VoiceName) -> None:
        """Everything that is kept about one voice."""
        async with self.bot.reply(interaction, Action.OWN) as reply:
            saved = await self.bot.library.find(interaction.user.id, voice)
            await reply.show(embed=cards.voice_card(saved))

    @app_commands.command(description="Rename one of your voices")
    @app_commands.describe(voice="One of your voices", new_name="Its new name")
    @app_commands.autocomplete(voice=suggest_voices)
    async def rename(self, interaction: Interaction, voice: VoiceName, new_name: VoiceName) -> None:
        """Rename a voice."""
        async with self.bot.reply(interaction) as reply:
            renamed = await self.bot.library.rename(interaction.user.id, voice, new_name)
            await reply.show(f"Done. That voice is now called {voice_name(renamed.name)}.")

    @app_commands.command(description="Correct what's said in the recording of one of your voices")
    @app_commands.describe(voice="One of your voices")
    @app_commands.autocomplete(voice=suggest_voices)
    async def transcript(self, interaction: Interaction, voice: VoiceName) -> None:
        """Ask for what is really said, in a form; `_correct` takes its answer."""
        saved = await before_form(self._to_correct(interaction, voice))
        form = TranscriptForm(saved.transcript, on_answer=partial(self._correct, saved))
        await interaction.response.send_modal(form)

    async def _to_correct(self, interaction: Interaction, name: str) -> SavedVoice:
        """The voice of that name. Raises `Refusal` before the person writes for nothing."""
        await self.bot.policy.check(actor_of(interaction), Action.CLONE)
        return await self.bot.library.find(interaction.user.id, name)

    async def _correct(self, voice: SavedVoice, interaction: Interaction, transcript: str) -> None:
        """Make a voice's prompt again, with another transcript."""
        async with self.bot.reply(interaction, Action.CLONE) as reply:
            seconds = voice.clip_seconds
            work = await reply.begin(WorkKind.REQUEST, seconds, recording=seconds)
            heard = await reply.work(
                lambda progress: self.bot.studio.correct_transcript(
                    voice, transcript, on_step=progress.step, on_speech=work.made
                )
            )
            shown = voice_name(voice.name)
            reply.remarks.append(f"Done. I learned {shown} again with that transcript.")
            doubt = cards.heard_in(
                heard, given=transcript, how_to_correct="use `/voice transcript` again"
            )
            if doubt is not None:
                reply.remarks.append(doubt)
            await reply.finish()

    @app_commands.command(description="Delete one of your voices for good")
    @app_commands.describe(voice="One of your voices")
    @app_commands.autocomplete(voice=suggest_voices)
    async def delete(self, interaction: Interaction, voice: VoiceName) -> None:
        """Ask, then delete."""
        async with self.bot.reply(interaction, Action.OWN) as reply:
            saved = await self.bot.library.find(interaction.user.id, voice)
            shown = voice_name(saved.name)
            if not await reply.ask(ask_to_delete(f"the voice {shown}")):
                raise Refusal(Reason.VOICE_KEPT, name=saved.name)
            is_complete = await self.bot.library.delete(saved)
            self.bot.players.end_voice(interaction.user.id, saved.id)
            self.bot.policy.audit.note_own(AuditAction.DELETED, reply.actor, saved.id)
            deleted = f"Deleted {shown} and its recording."
            await reply.show(deleted if is_complete else f"{deleted} {cards.LAST_COPIES}")

    @app_commands.command(description="Say that a voice is yours: I freeze it until that's decided")
    @app_commands.describe(
        message="The link to my message; leave it out for what I say in your voice channel"
    )
    async def claim(
        self,
        interaction: Interaction,
        message: app_commands.Range[str, 1, MAX_LINK_CHARACTERS] | None = None,
    ) -> None:
        """Freeze somebody else's voice everywhere, and report that it was cloned from this one."""
        async with self.bot.reply(interaction, Action.REPORT) as reply:
            subject = await self.bot.reporting.meant(interaction.user, message)
            await reply.show(await self.bot.reporting.claim(subject, interaction.user.id))


async def setup(bot: VoiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    await bot.add_cog(Voice(bot))
