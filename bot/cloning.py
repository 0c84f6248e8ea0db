"""Making a voice from a recording, for `/clone` and the menu of a message."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import discord

from backend.contract import AUTO_LANGUAGE, MAX_REFERENCE_SECONDS
from bot.consent_aloud import ConsentAloud
from bot.errors import Reason, Refusal
from bot.guilds.access import Action
from bot.guilds.records import AuditAction, WorkKind
from bot.interface import cards
from bot.interface.attribution import PublicWords
from bot.interface.delivery.attachment import ReplyFormat
from bot.interface.mentions import no_names, resolve_names
from bot.interface.options import caller_of, language_to_read
from bot.interface.reply import Reply
from bot.interface.transcripts import PRESS_CORRECT, transcript_view
from bot.interface.typed_text import voice_name
from bot.interface.uploads import download
from bot.interface.views import ask_to_replace
from bot.interface.wording import consent as consent_wording
from bot.interface.wording import sentences as wording
from bot.interface.wording.first_words import FIRST_WORDS, first_language
from bot.streaming import collect
from bot.text import guess_language, spoken_seconds, with_names
from bot.verification import COUNTED_SECONDS
from bot.voices.consent import confirm, is_spoken

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from backend.contract import ConsentRecord
    from bot.interface.reply import Replies
    from bot.services import Services
    from bot.studio import NewVoice
    from bot.text import Sentence
    from bot.voices.consent import Permission
    from bot.voices.records import SavedVoice
    from bot.voices.spoken_consent import ConsentSentence, SpokenConsents

Interaction = discord.Interaction[Any]


@dataclass(frozen=True, slots=True)
class CloneRequest:
    """What voice a person wants to have made.

    Attributes:
        audio: The recording.
        permission: Why the person may clone its voice.
        name: What to save the voice as; None to only try it.
        text: What it is to say; None for hello in the recording's language.
        transcript: What is said in the recording, if the person knows.
        language: The language of the text, one of `backend.contract.LANGUAGES`.
    """

    audio: discord.Attachment
    permission: Permission
    name: str | None = None
    text: str | None = field(default=None, repr=False)
    transcript: str | None = field(default=None, repr=False)
    language: str = AUTO_LANGUAGE


@dataclass(frozen=True, slots=True)
class _Script:
    """What a new voice is to say.

    Attributes:
        words: As they are shown.
        sentences: As they are spoken.
        language: One of the backend's languages.
    """

    words: str = field(repr=False)
    sentences: list[Sentence] = field(repr=False)
    language: str


class Cloning:
    """Makes voices from recordings.

    Args:
        services: What every front works with.
        replies: The commands that are being answered now.
        spoken_consents: The sentences that members were given to read aloud.
        on_replaced: Called when a voice has got another recording, with the voice's id.
    """

    def __init__(
        self,
        services: Services,
        *,
        replies: Replies,
        spoken_consents: SpokenConsents,
        on_replaced: Callable[[int], Awaitable[None]],
    ) -> None:
        self._policy = services.policy
        self._voice_access = services.voice_access
        self._library = services.library
        self._dictionaries = services.dictionaries
        self._studio = services.studio
        self._replies = replies
        self._consent_aloud = ConsentAloud(services, spoken_consents)
        self._on_replaced = on_replaced

    async def clone(self, interaction: Interaction, request: CloneRequest) -> None:
        """Refuse what can be refused at once, then make the voice, and let it speak."""
        studio, owner = self._studio, interaction.user
        name, transcript, language = request.name, request.transcript, request.language
        given = request.permission
        async with Reply(interaction, self._replies, Action.CLONE) as reply:
            # Without a text, it depends on the recording what is said. This tells how long it is.
            script = (
                await self._first_words(language, None)
                if request.text is None
                else await self._script(interaction, request.text, language)
            )
            replaced: SavedVoice | None = None
            if name is not None:
                name, replaced = await self._check_name(owner.id, name)
            sentence: ConsentSentence | None = None
            if await self._consent_aloud.is_asked_for(reply):
                sentence = self._consent_aloud.sentence_of(reply)
                if sentence is None:
                    read_in = language_to_read(language, interaction.locale)
                    await self._consent_aloud.give_sentence(reply, read_in)
                    return
                transcript = sentence.text
            is_aloud = sentence is not None
            if replaced is not None:
                await self._ask_to_replace(reply, replaced, is_aloud=is_aloud)
            consent = confirm(given, by=owner.id, at=datetime.now(UTC), is_spoken=is_aloud)
            work = await reply.begin(
                WorkKind.REQUEST,
                MAX_REFERENCE_SECONDS
                + spoken_seconds(script.sentences)
                + (COUNTED_SECONDS if is_aloud else 0.0),
                recording=MAX_REFERENCE_SECONDS,
            )
            upload = await download(request.audio)
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
                await self._consent_aloud.check(reply, sentence, upload, voice, work)
            reply.remarks += map(wording.note, voice.notes)
            if request.text is None:
                script = await self._first_words(language, _language_of(voice))
            saved: SavedVoice | None = None
            if name is not None:
                saved = await self._keep(reply, name, replaced, voice, language, consent)
                name = saved.name
                self._policy.audit.note_own(
                    AuditAction.CLONED if replaced is None else AuditAction.REPLACED,
                    reply.actor,
                    saved.id,
                    text=script.words,
                    details=given,
                )
            _tell_what_was_heard(reply, voice, transcript, saved)
            speech = await reply.work(
                lambda progress: collect(
                    studio.stream(
                        script.sentences,
                        voice.prompt,
                        language=script.language,
                        caller=caller_of(interaction),
                        production=studio.production(script.sentences, on_speech=work.made),
                        speed=1.0 if saved is None else saved.speed,
                    ),
                    on_sentence=partial(progress.sentence, total=len(script.sentences)),
                )
            )
            await self._voice_access.check_still(reply.actor, saved)
            if saved is not None:
                await studio.note_loudness(saved, speech.loudness)
            else:
                self._policy.audit.note_own(
                    AuditAction.CLONED,
                    reply.actor,
                    None,
                    text=script.words,
                    details=given,
                )
                reply.remarks.append(consent_wording.NOT_SAVED)
                reply.remarks.append(consent_wording.just_confirmed(consent))
            await reply.post(
                PublicWords.about(
                    name, owner.id, script.words, speech, len(script.sentences), studio.backend
                ),
                speech,
                ReplyFormat.OGG,
                on_posted=partial(
                    self._policy.posts.note,
                    voice_id=saved.id if saved is not None else None,
                    owner_id=owner.id,
                ),
            )
            if speech.error is not None:
                raise speech.error
            await reply.finish()

    async def _script(self, interaction: Interaction, text: str, language: str) -> _Script:
        """Return what a person wants the voice to say."""
        name_of = await resolve_names(interaction, text)
        spoken_for = await self._dictionaries.spoken_for(interaction.user.id, interaction.guild_id)
        sentences = await self._studio.script(
            text, language=language, name_of=name_of, spoken_for=spoken_for
        )
        return _Script(with_names(text, name_of=name_of), sentences, language)

    async def _first_words(self, chosen: str, heard: str | None) -> _Script:
        """Return what a voice says by itself.

        Args:
            chosen: The language that the person chose, if any.
            heard: The language of the recording, if it is known.
        """
        studio, language = self._studio, chosen
        if chosen == AUTO_LANGUAGE:
            language = first_language(heard, studio.backend.languages)
        words = FIRST_WORDS.get(language, "")
        sentences = await studio.script(words, language=language, name_of=no_names)
        return _Script(words, sentences, language)

    async def _check_name(self, owner_id: int, name: str) -> tuple[str, SavedVoice | None]:
        """Return the name to keep a voice under, and the person's voice that has it, if any.

        Raises `Refusal` if nothing can be kept under it.
        """
        try:
            return await self._library.check_can_save(owner_id, name), None
        except Refusal as refusal:
            if refusal.reason is not Reason.NAME_TAKEN:
                raise
        taken = await self._library.find(owner_id, name)
        await self._check_may_replace(taken)
        return taken.name, taken

    async def _ask_to_replace(self, reply: Reply, voice: SavedVoice, *, is_aloud: bool) -> None:
        """Raise `Refusal` if the person wants to keep the recording of a voice, or has to."""
        loses_spoken = not is_aloud and is_spoken(voice.consent.statement_version)
        if not await reply.ask(ask_to_replace(voice_name(voice.name), loses_spoken=loses_spoken)):
            raise Refusal(Reason.RECORDING_KEPT, name=voice.name)
        await self._check_may_replace(voice)

    async def _check_may_replace(self, voice: SavedVoice) -> None:
        if not await self._policy.may_replace_recording(voice.id):
            raise Refusal(Reason.RECORDING_STAYS, name=voice.name)

    async def _keep(  # noqa: PLR0913, PLR0917 - where it is kept, and all that makes a voice
        self,
        reply: Reply,
        name: str,
        replaced: SavedVoice | None,
        voice: NewVoice,
        language: str,
        consent: ConsentRecord,
    ) -> SavedVoice:
        """Save a voice, as the one that `/say` speaks with next.

        Args:
            reply: Answers the person.
            name: What the person calls it.
            replaced: The voice whose recording it replaces; None for a new one.
            voice: What was made of the recording.
            language: What it speaks if no language is chosen.
            consent: What the person confirmed.
        """
        if replaced is None:
            keep = partial(self._library.save, reply.actor.user_id, name)
        else:
            await self._check_may_replace(replaced)
            keep = partial(self._library.recordings.replace, replaced)
        saved = await keep(
            clip_flac=voice.clip_flac,
            clip_seconds=voice.clip_seconds,
            transcript=voice.transcript,
            language=language,
            prompt=voice.prompt,
            consent=consent,
            guild_id=reply.actor.guild_id,
        )
        self._library.defaults.touch(saved)
        shown = voice_name(saved.name)
        reply.remarks.append(
            consent_wording.saved_as(shown, consent)
            if replaced is None
            else f"{shown} has the new recording. Use it any time with `/say`."
        )
        reply.remarks.append(consent_wording.just_confirmed(consent))
        if replaced is not None:
            await self._on_replaced(saved.id)
        return saved


def _tell_what_was_heard(
    reply: Reply, voice: NewVoice, given: str | None, saved: SavedVoice | None
) -> None:
    """Let the person check the transcript of a voice, with a button that corrects one that is kept.

    Args:
        reply: Answers the person.
        voice: What was made of the recording.
        given: The transcript that the person gave, if they did.
        saved: The voice as it is kept, if it is.
    """
    how_to_correct = PRESS_CORRECT if saved else "use `/clone` again with a `transcript`"
    heard = cards.heard_in(voice.heard, given=given, how_to_correct=how_to_correct)
    if heard is not None:
        reply.remarks.append(heard)
        reply.view = transcript_view(saved) if saved else None


def _language_of(voice: NewVoice) -> str | None:
    """The language of a voice's recording, if it can be told."""
    if voice.heard is not None and voice.heard.language is not None:
        return voice.heard.language
    return None if voice.transcript is None else guess_language(voice.transcript)
