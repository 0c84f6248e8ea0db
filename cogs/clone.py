"""`/clone`: hear a recording, speak with its voice, and keep it if it is given a name."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from backend.contract import AUTO_LANGUAGE, MAX_REFERENCE_SECONDS, MAX_TRANSCRIPT_CHARACTERS
from bot.client import Interaction, VoiceBot
from bot.guilds.access import Action
from bot.guilds.records import AuditAction, WorkKind
from bot.interface import cards, consent_wording, wording
from bot.interface.attachment import ReplyFormat
from bot.interface.attribution import PublicWords
from bot.interface.first_words import FIRST_WORDS, first_language
from bot.interface.mentions import resolve_names
from bot.interface.options import (
    LANGUAGE_CHOICES,
    PERMISSION_CHOICES,
    caller_of,
    language_to_read,
)
from bot.interface.transcripts import PRESS_CORRECT, transcript_view
from bot.interface.typed_text import voice_name
from bot.interface.uploads import download
from bot.streaming import collect
from bot.studio import NewVoice
from bot.text import MAX_TEXT_CHARACTERS, MentionKind, guess_language, spoken_seconds, with_names
from bot.voices.consent import Permission, confirm
from bot.voices.names import MAX_NAME_CHARACTERS
from bot.voices.records import SavedVoice
from bot.voices.spoken_consent import check_heard

if TYPE_CHECKING:
    from backend.contract import ConsentRecord
    from bot.text import Sentence
    from bot.voices.spoken_consent import ConsentSentence


@dataclass(frozen=True, slots=True)
class Script:
    """What a new voice is to say.

    Attributes:
        words: As they are shown.
        sentences: As they are spoken.
        language: One of the backend's languages.
    """

    words: str = field(repr=False)
    sentences: list[Sentence] = field(repr=False)
    language: str


class Clone(commands.Cog):
    """From a recording to a voice."""

    def __init__(self, bot: VoiceBot) -> None:
        self.bot = bot

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
        """Refuse what can be refused at once, then do the work."""
        studio, owner = self.bot.studio, interaction.user
        given = Permission(permission)
        consent = confirm(given, by=owner.id, at=datetime.now(UTC))
        async with self.bot.reply(interaction, Action.CLONE) as reply:
            # Without a text, it depends on the recording what is said. This tells how long it is.
            script = (
                await self._first_words(language, None)
                if text is None
                else await self._script(interaction, text, language)
            )
            if name is not None:
                name = await self.bot.library.check_can_save(owner.id, name)
            sentence: ConsentSentence | None = None
            guild_id = interaction.guild_id
            if guild_id and await self.bot.policy.asks_for_spoken_consent(guild_id):
                sentence = self.bot.spoken_consents.current(owner.id, guild_id)
                if sentence is None:
                    read_in = language_to_read(language, interaction.locale)
                    new = self.bot.spoken_consents.give(owner.id, guild_id, read_in)
                    await reply.show(consent_wording.to_read_aloud(new))
                    return
                transcript = sentence.text
                consent = confirm(given, by=owner.id, at=datetime.now(UTC), is_spoken=True)
            work = await reply.begin(
                WorkKind.REQUEST,
                MAX_REFERENCE_SECONDS + spoken_seconds(script.sentences),
                recording=MAX_REFERENCE_SECONDS,
            )
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
            if sentence is not None:
                check_heard(sentence, voice.heard)
                self.bot.spoken_consents.used(owner.id, interaction.guild_id or 0)
            reply.remarks += map(wording.note, voice.notes)
            if text is None:
                script = await self._first_words(language, _language_of(voice))
            saved: SavedVoice | None = None
            if name is not None:
                saved = await self._keep(interaction, name, voice, language, consent)
                self.bot.policy.audit.note_own(
                    AuditAction.CLONED,
                    reply.actor,
                    saved.id,
                    text=script.words,
                    details=given,
                )
                shown = voice_name(name)
                reply.remarks.append(
                    f"Your voice is saved as {shown}. Use it any time with `/say`."
                )
                reply.remarks.append(consent_wording.just_confirmed(consent))
            heard = cards.heard_in(
                voice.heard,
                given=transcript,
                how_to_correct=PRESS_CORRECT
                if saved is not None
                else "use `/clone` again with a `transcript`",
            )
            if heard is not None:
                reply.remarks.append(heard)
                reply.view = transcript_view(saved) if saved is not None else None
            speech = await reply.work(
                lambda progress: collect(
                    studio.stream(
                        script.sentences,
                        voice.prompt,
                        language=script.language,
                        caller=caller_of(interaction),
                        production=studio.production(script.sentences, on_speech=work.made),
                    ),
                    on_sentence=partial(progress.sentence, total=len(script.sentences)),
                )
            )
            await self.bot.voice_access.check_still(reply.actor, saved)
            if saved is not None:
                await studio.note_loudness(saved, speech.loudness)
            else:
                self.bot.policy.audit.note_own(
                    AuditAction.CLONED, reply.actor, None, text=script.words, details=given
                )
            await reply.post(
                PublicWords.about(
                    name, owner.id, script.words, speech, len(script.sentences), studio.backend
                ),
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

    async def _script(self, interaction: Interaction, text: str, language: str) -> Script:
        """Return what a person wants the voice to say."""
        name_of = await resolve_names(interaction, text)
        spoken_for = await self.bot.dictionaries.spoken_for(
            interaction.user.id, interaction.guild_id
        )
        sentences = await self.bot.studio.script(
            text, language=language, name_of=name_of, spoken_for=spoken_for
        )
        return Script(with_names(text, name_of=name_of), sentences, language)

    async def _first_words(self, chosen: str, heard: str | None) -> Script:
        """Return what a voice says by itself.

        Args:
            chosen: The language that the person chose, if any.
            heard: The language of the recording, if it is known.
        """
        studio, language = self.bot.studio, chosen
        if chosen == AUTO_LANGUAGE:
            language = first_language(heard, studio.backend.languages)
        words = FIRST_WORDS.get(language, "")
        sentences = await studio.script(words, language=language, name_of=_no_name)
        return Script(words, sentences, language)

    async def _keep(
        self,
        interaction: Interaction,
        name: str,
        voice: NewVoice,
        language: str,
        consent: ConsentRecord,
    ) -> SavedVoice:
        """Save a voice, as the one that `/say` speaks with next."""
        saved = await self.bot.library.save(
            interaction.user.id,
            name,
            clip_flac=voice.clip_flac,
            clip_seconds=voice.clip_seconds,
            transcript=voice.transcript,
            language=language,
            prompt=voice.prompt,
            consent=consent,
            guild_id=interaction.guild_id,
        )
        self.bot.library.defaults.touch(saved)
        return saved


def _no_name(_kind: MentionKind, _id: int) -> None:
    """First words mention nobody."""


def _language_of(voice: NewVoice) -> str | None:
    """The language of a voice's recording, if it can be told."""
    if voice.heard is not None and voice.heard.language is not None:
        return voice.heard.language
    return None if voice.transcript is None else guess_language(voice.transcript)


async def setup(bot: VoiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    await bot.add_cog(Clone(bot))
