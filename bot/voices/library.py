"""The voices that people saved, and the rules about who may do what with them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from backend.contract import VoicePrompt
from bot.errors import Reason, Refusal
from bot.storage.database import DatabaseUser, carried_out
from bot.storage.errors import DatabaseFailedError
from bot.storage.keys import DamagedError
from bot.voices.defaults import DefaultVoices
from bot.voices.names import clean_voice_name, name_key
from bot.voices.queries import (
    RECENT_FIRST,
    has_recording,
    is_share_with,
    is_voice,
    is_word_of,
    lock_voices,
    locked_recording,
    locked_row,
    row_named,
    unused_consent,
    voice_count,
    voices_of,
    voices_where,
)
from bot.voices.recordings import Recordings
from bot.voices.records import Forgotten, SavedClip, VoicePage
from bot.voices.sharing import Sharing
from bot.voices.suggestions import Suggestions
from bot.voices.tables import (
    ConsentRow,
    DefaultVoiceRow,
    PromptRow,
    PronunciationRow,
    SharedUseRow,
    ShareRow,
    VoiceRow,
    VoiceSpeedRow,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection

    from sqlalchemy.ext.asyncio import AsyncSession

    from backend.contract import ConsentRecord
    from bot.storage.database import Database
    from bot.voices.records import SavedVoice


class VoiceLibrary(DatabaseUser):
    """Saves, finds and deletes voices.

    Each call is one short transaction, which runs to its end even if the caller is cancelled. What
    speech can do without is written later, and its result need not be awaited.
    Only its owner can see, rename or delete a voice. For anyone else it does not exist here, and
    `sharing` says whether they may use it. Only `about` asks for no owner: it is for those who
    moderate.
    A call that breaks a rule raises `bot.errors.Refusal`.

    A `SavedVoice` is a voice with its recording: if that was replaced meanwhile, the calls about
    prompts, clips and transcripts do nothing.

    Attributes:
        recordings: Replaces the recording of a voice.
        sharing: Who else may use a voice.
        defaults: Which voice is used if none is named.
        suggestions: Which voices are offered while somebody types.
    """

    def __init__(
        self,
        database: Database,
        *,
        max_voices_per_user: int = 50,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(database)
        self._max_voices_per_user = max_voices_per_user
        self._clock = clock
        self.recordings = Recordings(database, clock=clock)
        self.sharing = Sharing(database, clock=clock)
        self.defaults = DefaultVoices(database, clock=clock)
        self.suggestions = Suggestions(database)

    @carried_out
    async def check_can_save(self, owner_id: int, name: str) -> str:
        """Return the name as it would be stored. Raises `Refusal` if `save` would raise it now."""
        cleaned = clean_voice_name(name)
        async with self._database.read() as session:
            await self._check_room(session, owner_id, cleaned)
        return cleaned

    @carried_out
    async def save(  # noqa: PLR0913 - a voice is all of these, and each has a name
        self,
        owner_id: int,
        name: str,
        *,
        clip_flac: bytes,
        clip_seconds: float,
        transcript: str | None,
        language: str | None,
        prompt: VoicePrompt,
        consent: ConsentRecord,
        guild_id: int | None,
    ) -> SavedVoice:
        """Save a voice with its first prompt, and with what its owner confirmed for it.

        Args:
            owner_id: Whose voice it will be.
            name: What they call it.
            clip_flac: The cleaned reference clip.
            clip_seconds: Its length.
            transcript: What is said in it, if that is known.
            language: What it speaks if no language is chosen, if the owner chose one.
            prompt: The voice prompt.
            consent: What the owner confirmed for this voice.
            guild_id: In which server they did; None for a direct message.

        Raises `Refusal` if the owner has too many voices or one of that name, and ValueError if
        somebody else gave the consent.
        """
        if consent.attested_by != owner_id:
            raise ValueError("a voice is saved with the consent of its owner")
        cleaned = clean_voice_name(name)
        now = self._clock()
        try:
            async with self._database.write() as session:
                await lock_voices(self._database, session, owner_id)
                await self._check_room(session, owner_id, cleaned)
                voice = VoiceRow(
                    owner_id=owner_id,
                    name=cleaned,
                    name_key=name_key(cleaned),
                    clip_flac=clip_flac,
                    clip_seconds=clip_seconds,
                    transcript=transcript,
                    language=language,
                    consent=ConsentRow(
                        user_id=owner_id,
                        statement_version=consent.statement_version,
                        attested_at=consent.attested_at,
                        guild_id=guild_id,
                    ),
                    created_at=now,
                    prompts=[PromptRow(model_id=prompt.model_id, data=prompt.data, created_at=now)],
                    chosen_speed=None,
                )
                session.add(voice)
                await session.flush()
                return voice.to_saved_voice()
        except IntegrityError as error:
            raise await self._refusal_for(error, owner_id, cleaned) from error

    @carried_out
    async def find(self, owner_id: int, name: str) -> SavedVoice:
        """Return the owner's voice of that name, ignoring case. Raises `Refusal`."""
        async with self._database.read() as session:
            voice = await row_named(session, owner_id, name)
            return voice.to_saved_voice()

    @carried_out
    async def page(self, owner_id: int, *, offset: int = 0, limit: int = 10) -> VoicePage:
        """Return some of the owner's voices, the most recently used first."""
        query = voices_of(owner_id).order_by(*RECENT_FIRST).offset(offset).limit(limit)
        async with self._database.read() as session:
            total = await session.scalar(voice_count(owner_id)) or 0
            voices = await session.scalars(query)
            return VoicePage(tuple(voice.to_saved_voice() for voice in voices), total)

    @carried_out
    async def prompt(self, voice: SavedVoice, model_id: str) -> VoicePrompt | None:
        """Return the voice's prompt for that model, or None if it must be made from the clip."""
        query = (
            select(PromptRow.data)
            .join(VoiceRow, VoiceRow.id == PromptRow.voice_id)
            .where(has_recording(voice), PromptRow.model_id == model_id)
        )
        try:
            async with self._database.read() as session:
                data = await session.scalar(query)
        except DamagedError:
            return None
        return None if data is None else VoicePrompt(data=data, model_id=model_id)

    @carried_out
    async def loudness(self, voice: SavedVoice, model_id: str) -> float | None:
        """Return how loud the voice last was with that model, in LUFS, if that was measured."""
        query = select(PromptRow.loudness).where(
            PromptRow.voice_id == voice.id, PromptRow.model_id == model_id
        )
        async with self._database.read() as session:
            return await session.scalar(query)

    def note_loudness(
        self, voice: SavedVoice, model_id: str, loudness: float
    ) -> asyncio.Future[bool]:
        """Store how loud the voice is with that model, in LUFS, for as long as it has a prompt.

        It is written later, see `Database.later`.
        """
        same = PromptRow.voice_id.in_(select(VoiceRow.id).where(has_recording(voice)))
        noted = (
            update(PromptRow).where(same, PromptRow.model_id == model_id).values(loudness=loudness)
        )
        key = (voice.id, model_id)
        return self._database.later("loudness", lambda session: session.execute(noted), key=key)

    @carried_out
    async def clip(self, voice: SavedVoice) -> SavedClip:
        """Return the voice's reference clip. Raises `Refusal` if it is damaged, or was replaced."""
        query = select(VoiceRow.clip_flac, VoiceRow.transcript).where(has_recording(voice))
        try:
            async with self._database.read() as session:
                row = (await session.execute(query)).one_or_none()
        except DamagedError:
            raise Refusal(Reason.CLIP_DAMAGED) from None
        if row is None:
            raise Refusal(await self._why_gone(voice) or Reason.NO_SUCH_VOICE)
        return SavedClip(*row)

    def store_prompt(
        self, voice: SavedVoice, prompt: VoicePrompt, transcript: str | None = None
    ) -> asyncio.Future[bool]:
        """Store a prompt for the voice. It replaces an earlier one for the same model.

        It is written later, see `Database.later`; never if the voice was deleted, or has another
        recording.

        Args:
            voice: The voice that the prompt is for.
            prompt: The prompt to store.
            transcript: The transcript that the prompt was made with; stored if the voice has none.
        """

        async def store(session: AsyncSession) -> None:
            row = await locked_recording(session, voice)
            row.transcript = row.transcript or transcript
            await session.merge(self._prompt_row(voice, prompt))

        return self._database.later("prompt", store, key=(voice.id, prompt.model_id))

    @carried_out
    async def correct_transcript(
        self, voice: SavedVoice, transcript: str, prompt: VoicePrompt
    ) -> None:
        """Store a corrected transcript, and a prompt made with it that replaces all others."""
        async with self._database.erase() as session:
            row = await locked_recording(session, voice)
            row.transcript = transcript
            await session.execute(delete(PromptRow).where(PromptRow.voice_id == voice.id))
            session.add(self._prompt_row(voice, prompt))
        await self._database.erase_remains()

    @carried_out
    async def about(self, voice_ids: Collection[int]) -> dict[int, SavedVoice]:
        """Return those voices that were not deleted, by their ids, whoever owns them."""
        query = voices_where(VoiceRow.id.in_(voice_ids))
        async with self._database.read() as session:
            return {voice.id: voice.to_saved_voice() for voice in await session.scalars(query)}

    async def why_gone(self, voice: SavedVoice) -> Reason | None:
        """Return why there's no such voice any more, or no such recording; None if there is.

        None also if the database can't tell now.
        """
        try:
            return await self._why_gone(voice)
        except DatabaseFailedError:
            return None

    @carried_out
    async def _why_gone(self, voice: SavedVoice) -> Reason | None:
        query = select(has_recording(voice)).where(is_voice(voice))
        async with self._database.read() as session:
            is_same = await session.scalar(query)
        if is_same is None:
            return Reason.NO_SUCH_VOICE
        return None if is_same else Reason.RECORDING_REPLACED

    @carried_out
    async def rename(self, owner_id: int, name: str, new_name: str) -> SavedVoice:
        """Give the owner's voice another name."""
        cleaned = clean_voice_name(new_name)
        try:
            async with self._database.write() as session:
                voice = await row_named(session, owner_id, name, lock=True)
                voice.name, voice.name_key = cleaned, name_key(cleaned)
                shares = update(ShareRow).where(ShareRow.voice_id == voice.id)
                await session.execute(shares.values(name_key=voice.name_key))
                await session.flush()
                return voice.to_saved_voice()
        except IntegrityError as error:
            raise await self._refusal_for(error, owner_id, cleaned) from error

    @carried_out
    async def set_speed(self, voice: SavedVoice, speed: float) -> None:
        """Decide how many times as fast a voice speaks as it would by itself."""
        async with self._database.write() as session:
            await locked_row(session, voice)
            if speed == 1.0:
                chosen = delete(VoiceSpeedRow).where(VoiceSpeedRow.voice_id == voice.id)
                await session.execute(chosen)
            else:
                await session.merge(VoiceSpeedRow(voice_id=voice.id, speed=speed))

    @carried_out
    async def delete(self, voice: SavedVoice) -> bool:
        """Erase this voice, whatever its name is now: clip, transcript, prompts and consent.

        Returns what `Database.erase_remains` does: whether no copy is left in the database's log.
        """
        erased = delete(VoiceRow).where(is_voice(voice)).returning(VoiceRow.consent_id)
        async with self._database.erase() as session:
            await lock_voices(self._database, session, voice.owner_id)
            consent_id = await session.scalar(erased)
            if consent_id is None:
                raise Refusal(Reason.NO_SUCH_VOICE)
            await session.execute(unused_consent(consent_id))
        return await self._database.erase_remains()

    @carried_out
    async def keeps_anything_about(self, user_id: int) -> bool:
        """Return whether `forget` would erase anything."""
        async with self._database.read() as session:
            kept = [
                select(ConsentRow.id).where(ConsentRow.user_id == user_id).limit(1),
                select(VoiceRow.id).where(VoiceRow.owner_id == user_id).limit(1),
                select(PronunciationRow.id).where(is_word_of(user_id)).limit(1),
                select(ShareRow.voice_id).where(is_share_with(user_id)).limit(1),
                select(DefaultVoiceRow.user_id).where(DefaultVoiceRow.user_id == user_id),
                select(SharedUseRow.user_id).where(SharedUseRow.user_id == user_id).limit(1),
            ]
            return any([await session.scalar(query) is not None for query in kept])

    @carried_out
    async def forget(self, user_id: int) -> Forgotten:
        """Erase everything about a person, also that others share voices with them."""
        uses = delete(SharedUseRow).where(SharedUseRow.user_id == user_id)
        # What was noted before may not be written yet.
        self._database.later("last use of a shared voice", lambda session: session.execute(uses))
        async with self._database.erase() as session:
            await lock_voices(self._database, session, user_id)
            voices = await session.scalar(voice_count(user_id)) or 0
            await session.execute(delete(VoiceRow).where(VoiceRow.owner_id == user_id))
            confirmed = delete(ConsentRow).where(ConsentRow.user_id == user_id)
            consents = len((await session.scalars(confirmed.returning(ConsentRow.id))).all())
            await session.execute(delete(ShareRow).where(is_share_with(user_id)))
            chosen = delete(DefaultVoiceRow).where(DefaultVoiceRow.user_id == user_id)
            await session.execute(chosen)
            await session.execute(uses)
            words = delete(PronunciationRow).where(is_word_of(user_id))
            forgotten = len((await session.scalars(words.returning(PronunciationRow.id))).all())
        is_complete = await self._database.erase_remains()
        return Forgotten(voices=voices, consents=consents, words=forgotten, is_complete=is_complete)

    async def close(self) -> None:
        """Close the database, after the calls that are still running have ended."""
        await self._database.close()

    def _prompt_row(self, voice: SavedVoice, prompt: VoicePrompt) -> PromptRow:
        return PromptRow(
            voice_id=voice.id, model_id=prompt.model_id, data=prompt.data, created_at=self._clock()
        )

    async def _refusal_for(
        self, error: IntegrityError, owner_id: int, cleaned: str
    ) -> Refusal | IntegrityError:
        """Return what to raise for a violated constraint: a refusal if the name is taken."""
        same_name = voices_of(owner_id).where(VoiceRow.name_key == name_key(cleaned))
        async with self._database.read() as session:
            is_taken = await session.scalar(same_name) is not None
        return Refusal(Reason.NAME_TAKEN) if is_taken else error

    async def _check_room(self, session: AsyncSession, owner_id: int, cleaned: str) -> None:
        """Raise `Refusal` if the owner has too many voices already, or one of that name."""
        same_name = voices_of(owner_id).where(VoiceRow.name_key == name_key(cleaned))
        if await session.scalar(same_name) is not None:
            raise Refusal(Reason.NAME_TAKEN)
        if (await session.scalar(voice_count(owner_id)) or 0) >= self._max_voices_per_user:
            raise Refusal(Reason.TOO_MANY_VOICES, limit=self._max_voices_per_user)
