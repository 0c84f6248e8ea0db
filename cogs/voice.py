"""`/voice`: look after saved voices."""

from __future__ import annotations

from functools import partial

from discord import app_commands
from discord.ext import commands

from bot.client import Interaction, VoiceBot
from bot.errors import Reason, Refusal
from bot.guilds.access import Action
from bot.guilds.records import AuditAction
from bot.interface import cards, shared_voices
from bot.interface.actors import actor_of
from bot.interface.message_links import MAX_LINK_CHARACTERS
from bot.interface.options import MAX_SPEED, MIN_SPEED, suggest_own_voices, suggest_voices
from bot.interface.own_voice import own_voice_view
from bot.interface.reply import Reply
from bot.interface.transcripts import ask_for_transcript
from bot.interface.typed_text import voice_name
from bot.interface.views import Pages, ask_to_delete
from bot.interface.wording.sentences import explain
from bot.voice_access import asker_of
from bot.voices.names import MAX_NAME_CHARACTERS
from bot.voices.records import SavedVoice
from bot.voices.rights import Share
from cogs.sharing import SharingCommands, VoiceReference

VOICES_PER_PAGE = 10

VoiceName = app_commands.Range[str, 1, MAX_NAME_CHARACTERS]


class Voice(
    SharingCommands,
    commands.GroupCog,
    group_name="voice",
    group_description="Look after your voices",
):
    """What a person can do with the voices they saved, and with those that others share.

    And with a voice that somebody else saved, though it is theirs.
    """

    def __init__(self, bot: VoiceBot) -> None:
        self.bot = bot

    @app_commands.command(name="list", description="Show your voices, and those shared with you")
    async def list_voices(self, interaction: Interaction) -> None:
        """One line a voice, a page at a time: the person's own, then those of others."""

        async def render(asking: Interaction, page: int) -> tuple[str, int]:
            actor, access = actor_of(asking), self.bot.voice_access
            offset, limit = page * VOICES_PER_PAGE, VOICES_PER_PAGE
            own = await self.bot.library.page(actor.user_id, offset=offset, limit=limit)
            shared = await access.shared_with(
                actor, offset=max(0, offset - own.total), limit=limit - len(own.voices)
            )
            usable = {voice.id for voice in await access.usable(actor, shared.voices)}
            default_id = await access.chosen_default(actor)
            lines = [
                shared_voices.shared_line(
                    voice, is_usable=voice.id in usable, is_default=voice.id == default_id
                )
                for voice in shared.voices
            ]
            rights = await self.bot.library.sharing.rights([voice.id for voice in own.voices])
            where = {
                voice_id: words
                for voice_id, each in rights.items()
                if (words := shared_voices.where_shared(each.shares, actor.guild_id)) is not None
            }
            return cards.voice_list(
                own, where, lines, shared.total, page, limit, default_id=default_id
            )

        async with self.bot.reply(interaction, Action.OWN):
            await Pages(render).show(interaction)

    @app_commands.command(description="Show what I keep about a voice, and who may use it")
    @app_commands.describe(voice="One of your voices, or one that is shared with you here")
    @app_commands.autocomplete(voice=suggest_voices)
    async def info(self, interaction: Interaction, voice: VoiceReference) -> None:
        """Everything that is kept about one's own voice; of others', what they share of it."""
        async with self.bot.reply(interaction, Action.OWN) as reply:
            sharing = self.bot.library.sharing
            saved = await sharing.find(asker_of(reply.actor), voice)
            why_not = await self._why_not_used(reply, saved)
            if saved.owner_id != reply.actor.user_id:
                await reply.show(why_not, embed=shared_voices.shared_card(saved))
                return
            card, shares = cards.voice_card(saved), await self._shares_of(saved)
            shared_voices.add_who_may_use(card, shares, interaction.guild_id, self.bot.get_guild)
            await reply.show(why_not, embed=card, view=own_voice_view(saved))

    @app_commands.command(description="Rename one of your voices")
    @app_commands.describe(voice="One of your voices", new_name="Its new name")
    @app_commands.autocomplete(voice=suggest_own_voices)
    async def rename(
        self, interaction: Interaction, voice: VoiceReference, new_name: VoiceName
    ) -> None:
        """Rename a voice."""
        async with self.bot.reply(interaction) as reply:
            own = await self.bot.voice_access.own(reply.actor, voice)
            renamed = await self.bot.library.rename(own.owner_id, own.name, new_name)
            await reply.show(f"Done. That voice is now called {voice_name(renamed.name)}.")

    @app_commands.command(description="Choose how fast one of your voices speaks")
    @app_commands.describe(
        voice="One of your voices",
        speed="From 0.5 (half as fast) to 2 (twice as fast); 1 is its own speed",
    )
    @app_commands.autocomplete(voice=suggest_own_voices)
    async def speed(
        self,
        interaction: Interaction,
        voice: VoiceReference,
        speed: app_commands.Range[float, MIN_SPEED, MAX_SPEED],
    ) -> None:
        """Decide the speed of a voice. `/say` can choose another."""
        async with self.bot.reply(interaction) as reply:
            own = await self.bot.voice_access.own(reply.actor, voice)
            await self.bot.library.set_speed(own, speed)
            await reply.show(cards.speed_chosen(own.name, speed))

    @app_commands.command(description="Correct what's said in the recording of one of your voices")
    @app_commands.describe(voice="One of your voices")
    @app_commands.autocomplete(voice=suggest_own_voices)
    async def transcript(self, interaction: Interaction, voice: VoiceReference) -> None:
        """Ask for what is really said, in a form."""
        find = partial(self.bot.voice_access.own, reference=voice)
        await ask_for_transcript(interaction, find)

    @app_commands.command(description="Delete one of your voices for good")
    @app_commands.describe(voice="One of your voices")
    @app_commands.autocomplete(voice=suggest_own_voices)
    async def delete(self, interaction: Interaction, voice: VoiceReference) -> None:
        """Ask, then delete."""
        async with self.bot.reply(interaction, Action.OWN) as reply:
            saved = await self.bot.voice_access.own(reply.actor, voice)
            shown, shares = voice_name(saved.name), await self._shares_of(saved)
            losing = shared_voices.losing(shares, interaction.guild_id, self.bot.get_guild)
            question = ask_to_delete(f"the voice {shown}", follows=losing, is_own=True)
            if not await reply.ask(question):
                raise Refusal(Reason.VOICE_KEPT, name=saved.name)
            was_default = await self.bot.voice_access.chosen_default(reply.actor) == saved.id
            is_complete = await self.bot.library.delete(saved)
            self.bot.players.end_voice(interaction.user.id, saved.id)
            self.bot.policy.audit.note_own(AuditAction.DELETED, reply.actor, saved.id)
            deleted = f"Deleted {shown} and its recording."
            if was_default:
                deleted += " It was your default; choose another with `/voice default`."
            await reply.show(deleted if is_complete else f"{deleted} {cards.LAST_COPIES}")

    async def _why_not_used(self, reply: Reply, voice: SavedVoice) -> str | None:
        """Why the person can't use a voice where they are now, in words; None if they can."""
        try:
            await self.bot.voice_access.check(reply.actor, voice)
        except Refusal as refusal:
            return explain(refusal)
        return None

    async def _shares_of(self, voice: SavedVoice) -> frozenset[Share]:
        rights = (await self.bot.library.sharing.rights((voice.id,))).get(voice.id)
        return frozenset() if rights is None else rights.shares

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
