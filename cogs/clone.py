"""`/clone`: hear a recording, speak with its voice, and keep it if it is given a name."""

from __future__ import annotations

from functools import partial

import discord
from discord import app_commands
from discord.ext import commands

from backend.contract import (
    AUTO_LANGUAGE,
    MAX_REFERENCE_SECONDS,
    MAX_TRANSCRIPT_CHARACTERS,
    ConsentRecord,
)
from bot.client import Interaction, VoiceBot
from bot.errors import Reason, Refusal
from bot.guilds.access import Action
from bot.guilds.records import AuditAction, WorkKind
from bot.interface import cards, wording
from bot.interface.attribution import PublicWords
from bot.interface.delivery import ReplyFormat
from bot.interface.mentions import resolve_names
from bot.interface.options import LANGUAGE_CHOICES, caller_of
from bot.interface.reply import Reply
from bot.interface.typed_text import voice_name
from bot.interface.uploads import download
from bot.interface.views import ask_for_consent
from bot.streaming import collect
from bot.studio import NewVoice
from bot.text import MAX_TEXT_CHARACTERS, spoken_seconds, with_names
from bot.voices.names import MAX_NAME_CHARACTERS
from bot.voices.records import SavedVoice


class Clone(commands.Cog):
    """From a recording to a voice."""

    def __init__(self, bot: VoiceBot) -> None:
        self.bot = bot

    @app_commands.command(description="Make a voice from a recording and hear it say something")
    @app_commands.describe(
        audio="3 to 30 seconds of one person speaking: wav, mp3, m4a, ogg, flac, webm or mp4",
        text="What the voice should say",
        name="Keep the voice under this name for /say; leave it out to only try the voice",
        transcript="Exactly what's said in the recording, if you know it; it helps",
        language="The language of the text; leave it out and I'll tell by myself",
    )
    @app_commands.choices(language=LANGUAGE_CHOICES)
    async def clone(  # noqa: PLR0913, PLR0917 - the options of the slash command
        self,
        interaction: Interaction,
        audio: discord.Attachment,
        text: app_commands.Range[str, 1, MAX_TEXT_CHARACTERS],
        name: app_commands.Range[str, 1, MAX_NAME_CHARACTERS] | None = None,
        transcript: app_commands.Range[str, 1, MAX_TRANSCRIPT_CHARACTERS] | None = None,
        language: str = AUTO_LANGUAGE,
    ) -> None:
        """Refuse what can be refused at once, ask for consent, then do the work."""
        studio, owner = self.bot.studio, interaction.user
        async with self.bot.reply(interaction, Action.CLONE) as reply:
            name_of = await resolve_names(interaction, text)
            spoken = with_names(text, name_of=name_of)
            spoken_for = await self.bot.dictionaries.spoken_for(owner.id, interaction.guild_id)
            sentences = await studio.script(
                text, language=language, name_of=name_of, spoken_for=spoken_for
            )
            if name is not None:
                name = await self.bot.library.check_can_save(owner.id, name)
            begin = partial(
                reply.begin,
                WorkKind.REQUEST,
                MAX_REFERENCE_SECONDS + spoken_seconds(sentences),
                recording=MAX_REFERENCE_SECONDS,
            )
            work = await begin()
            upload = await download(audio)
            consent = await self.bot.library.consent_of(owner.id)
            if consent is None:
                await studio.check_recording(upload)  # refuse it before the question
                # The answer may take minutes, and others make voices meanwhile.
                del upload
                work.end()
                consent = await self._ask_for_consent(interaction, reply)
                work = await begin()
                upload = await download(audio)

            voice = await reply.work(
                lambda progress: studio.make_voice(
                    upload,
                    transcript=transcript,
                    consent=consent,
                    on_step=progress.step,
                    on_speech=work.made,
                )
            )
            reply.remarks += map(wording.note, voice.notes)
            saved: SavedVoice | None = None
            if name is not None:
                saved = await self._keep(owner.id, name, voice, language)
                self.bot.policy.audit.note_own(
                    AuditAction.CLONED, reply.actor, saved.id, text=spoken
                )
                shown = voice_name(name)
                reply.remarks.append(
                    f"Your voice is saved as {shown}. Use it any time with `/say`."
                )
            heard = cards.heard_in(
                voice.heard,
                given=transcript,
                how_to_correct="correct it with `/voice transcript`"
                if name
                else "use `/clone` again with a `transcript`",
            )
            if heard is not None:
                reply.remarks.append(heard)
            speech = await reply.work(
                lambda progress: collect(
                    studio.stream(
                        sentences,
                        voice.prompt,
                        language=language,
                        caller=caller_of(interaction),
                        production=studio.production(sentences, on_speech=work.made),
                    ),
                    on_sentence=partial(progress.sentence, total=len(sentences)),
                )
            )
            saved_id = saved.id if saved is not None else None
            await self.bot.policy.check_still(owner.id, saved_id, interaction.guild_id)
            if saved is not None:
                await studio.note_loudness(saved, speech.loudness)
            else:
                self.bot.policy.audit.note_own(AuditAction.CLONED, reply.actor, None, text=spoken)
            await reply.post(
                PublicWords.about(name, owner.id, spoken, speech, len(sentences), studio.backend),
                speech,
                ReplyFormat.OGG,
                on_posted=partial(
                    self.bot.policy.posts.note,
                    voice_id=saved.id if saved is not None else None,
                    owner_id=owner.id,
                ),
            )
            if speech.error is not None:
                raise speech.error
            await reply.finish()

    async def _ask_for_consent(self, interaction: Interaction, reply: Reply) -> ConsentRecord:
        """Ask, and keep the answer. Raises `Refusal` if it is no."""
        if not await reply.ask(ask_for_consent()):
            raise Refusal(Reason.CONSENT_REFUSED)
        return await self.bot.library.record_consent(
            interaction.user.id, guild_id=interaction.guild_id
        )

    async def _keep(self, owner_id: int, name: str, voice: NewVoice, language: str) -> SavedVoice:
        """Save a voice, as the one that `/say` speaks with next."""
        saved = await self.bot.library.save(
            owner_id,
            name,
            clip_flac=voice.clip_flac,
            clip_seconds=voice.clip_seconds,
            transcript=voice.transcript,
            language=language,
            prompt=voice.prompt,
        )
        self.bot.library.touch(saved)
        return saved


async def setup(bot: VoiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    await bot.add_cog(Clone(bot))
