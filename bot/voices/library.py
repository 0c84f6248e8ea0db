"""The voices that people saved, and the rules about who may do what with them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from backend.contract import VoicePrompt
from bot.errors import Refusal
from bot.voices.cancellation import carried_out
from bot.voices.consent import CONSENT_VERSION
from bot.voices.names import clean_voice_name, lookup_key, name_key
from bot.voices.queries import RECENT_FIRST, current_consent, is_voice, voice_count, voices_of
from bot.voices.records import Forgotten, SavedClip, VoicePage
from bot.voices.tables import ConsentRow, PromptRow, VoiceRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncSession

    from backend.contract import ConsentRecord
    from bot.voices.database import Database
    from bot.voices.records import SavedVoice

MAX_SUGGESTIONS = 25
"""Discord shows no more choices while someone types."""


class VoiceLibrary:
    """Saves, finds and deletes voices.

    Each call is one short transaction, which goes on to its end even if the caller is cancelled.
    Nobody but its owner can see, use, rename or delete a voice: to anyone else it does not exist.
    A call that breaks a rule raises `bot.errors.Refusal`.
    """

    def __init__(
        self,
        database: Database,
        *,
        max_voices_per_user: int = 50,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.database = database
        self._max_voices_per_user = max_voices_per_user
        self._clock = clock

    @carried_out
    async def consent_of(self, user_id: int) -> ConsentRecord | None:
        """Return the person's latest agreement to the current statement, if there is one."""
        async with self.database.read() as session:
            consent = await session.scalar(current_consent(user_id))
            return None if consent is None else consent.to_record()

    @carried_out
    async def record_consent(self, user_id: int, *, guild_id: int | None) -> ConsentRecord:
        """Keep that the person agrees to the current statement, and in which server if in one."""
        consent = ConsentRow(
            user_id=user_id,
            statement_version=CONSENT_VERSION,
            attested_at=self._clock(),
            guild_id=guild_id,
        )
        record = consent.to_record()
        async with self.database.write() as session:
            session.add(consent)
        return record

    @carried_out
    async def check_can_save(self, owner_id: int, name: str) -> str:
        """Return the name as it would be stored, if there is room for a voice of that name now."""
        cleaned = clean_voice_name(name)
        async with self.database.read() as session:
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
    ) -> SavedVoice:
        """Save a voice with its first prompt, on the strength of the owner's current consent."""
        cleaned = clean_voice_name(name)
        now = self._clock()
        try:
            async with self.database.write() as session:
                # Locking the consent makes one person's saves wait for each other on PostgreSQL,
                # so that two at once cannot both take the last free place.
                consent = await session.scalar(current_consent(owner_id).with_for_update())
                if consent is None:
                    raise Refusal(
                        "A voice can be saved only after you agree to the consent statement. "
                        "Use `/clone` again and agree to it.",
                    )
                await self._check_room(session, owner_id, cleaned)
                voice = VoiceRow(
                    owner_id=owner_id,
                    name=cleaned,
                    name_key=name_key(cleaned),
                    clip_flac=clip_flac,
                    clip_seconds=clip_seconds,
                    transcript=transcript,
                    language=language,
                    consent=consent,
                    created_at=now,
                    prompts=[
                        PromptRow(model_id=prompt.model_id, data=prompt.data, created_at=now),
                    ],
                )
                session.add(voice)
                await session.flush()
                return voice.to_saved_voice()
        except IntegrityError as error:
            raise await self._refusal_for(error, owner_id, cleaned) from error

    @carried_out
    async def find(self, owner_id: int, name: str) -> SavedVoice:
        """Return the owner's voice of that name, in whatever case it is typed."""
        async with self.database.read() as session:
            voice = await _find_row(session, owner_id, name)
            return voice.to_saved_voice()

    @carried_out
    async def default_for(self, owner_id: int) -> SavedVoice | None:
        """Return the voice to speak with if none is named: the last used, else the newest."""
        async with self.database.read() as session:
            voice = await session.scalar(voices_of(owner_id).order_by(*RECENT_FIRST).limit(1))
            return None if voice is None else voice.to_saved_voice()

    @carried_out
    async def page(self, owner_id: int, *, offset: int = 0, limit: int = 10) -> VoicePage:
        """Return some of the owner's voices, the most recently used first."""
        query = voices_of(owner_id).order_by(*RECENT_FIRST).offset(offset).limit(limit)
        async with self.database.read() as session:
            total = await session.scalar(voice_count(owner_id)) or 0
            voices = await session.scalars(query)
            return VoicePage(tuple(voice.to_saved_voice() for voice in voices), total)

    @carried_out
    async def suggest(self, owner_id: int, typed: str, limit: int = MAX_SUGGESTIONS) -> list[str]:
        """Return names that begin with what is typed so far, then names that contain it.

        At most `MAX_SUGGESTIONS`, the most recently used first within each kind.
        """
        query = (
            select(VoiceRow.name, VoiceRow.name_key)
            .where(VoiceRow.owner_id == owner_id)
            .order_by(*RECENT_FIRST)
        )
        async with self.database.read() as session:
            named = (await session.execute(query)).all()
        part = name_key(typed)
        beginning = [name for name, key in named if key.startswith(part)]
        containing = [name for name, key in named if part in key and not key.startswith(part)]
        return (beginning + containing)[: min(limit, MAX_SUGGESTIONS)]

    @carried_out
    async def prompt(self, voice: SavedVoice, model_id: str) -> VoicePrompt | None:
        """Return the voice's prompt for that model, or None if it must be made from the clip."""
        query = (
            select(PromptRow.data)
            .join(VoiceRow, VoiceRow.id == PromptRow.voice_id)
            .where(is_voice(voice), PromptRow.model_id == model_id)
        )
        async with self.database.read() as session:
            data = await session.scalar(query)
        return None if data is None else VoicePrompt(data=data, model_id=model_id)

    @carried_out
    async def clip(self, voice: SavedVoice) -> SavedClip:
        """Return the voice's reference clip."""
        query = select(VoiceRow.clip_flac, VoiceRow.transcript).where(is_voice(voice))
        async with self.database.read() as session:
            row = (await session.execute(query)).one_or_none()
        if row is None:
            raise _not_found()
        return SavedClip(*row)

    @carried_out
    async def store_prompt(
        self, voice: SavedVoice, prompt: VoicePrompt, transcript: str | None = None
    ) -> None:
        """Keep a prompt for the voice, in place of any for the same model.

        Args:
            voice: Whose prompt it is.
            prompt: What to keep.
            transcript: What the prompt rests on; kept if the voice had none.
        """
        async with self.database.write() as session:
            row = await _lock(session, voice)
            row.transcript = row.transcript or transcript
            await session.merge(self._prompt_row(voice, prompt))

    @carried_out
    async def correct_transcript(
        self, voice: SavedVoice, transcript: str, prompt: VoicePrompt
    ) -> None:
        """Keep what is really said in the clip, and a prompt made with that in place of all."""
        async with self.database.write() as session:
            row = await _lock(session, voice)
            row.transcript = transcript
            await session.execute(delete(PromptRow).where(PromptRow.voice_id == voice.id))
            session.add(self._prompt_row(voice, prompt))
        await self.database.erase_remains()

    @carried_out
    async def touch(self, voice: SavedVoice) -> bool:
        """Remember that the voice is used now; return False if it was deleted meanwhile."""
        used_now = (
            update(VoiceRow)
            .where(is_voice(voice))
            .values(last_used_at=self._clock())
            .returning(VoiceRow.id)
        )
        async with self.database.write() as session:
            return await session.scalar(used_now) is not None

    @carried_out
    async def rename(self, owner_id: int, name: str, new_name: str) -> SavedVoice:
        """Give the owner's voice another name."""
        cleaned = clean_voice_name(new_name)
        try:
            async with self.database.write() as session:
                voice = await _find_row(session, owner_id, name, lock=True)
                voice.name, voice.name_key = cleaned, name_key(cleaned)
                await session.flush()
                return voice.to_saved_voice()
        except IntegrityError as error:
            raise await self._refusal_for(error, owner_id, cleaned) from error

    @carried_out
    async def delete(self, voice: SavedVoice) -> None:
        """Erase this very voice, whatever it is called now: clip, transcript and prompts."""
        erased = delete(VoiceRow).where(is_voice(voice)).returning(VoiceRow.id)
        async with self.database.write() as session:
            if await session.scalar(erased) is None:
                raise _not_found()
        await self.database.erase_remains()

    @carried_out
    async def forget(self, user_id: int) -> Forgotten:
        """Erase everything about a person."""
        async with self.database.write() as session:
            # A save that is under way holds one of these locks, and is waited for.
            locked = select(ConsentRow.id).where(ConsentRow.user_id == user_id).with_for_update()
            consents = len((await session.scalars(locked)).all())
            voices = await session.scalar(voice_count(user_id)) or 0
            await session.execute(delete(VoiceRow).where(VoiceRow.owner_id == user_id))
            await session.execute(delete(ConsentRow).where(ConsentRow.user_id == user_id))
        await self.database.erase_remains()
        return Forgotten(voices=voices, consents=consents)

    async def close(self) -> None:
        """Close the database, once what is under way is done."""
        await self.database.close()

    def _prompt_row(self, voice: SavedVoice, prompt: VoicePrompt) -> PromptRow:
        return PromptRow(
            voice_id=voice.id,
            model_id=prompt.model_id,
            data=prompt.data,
            created_at=self._clock(),
        )

    async def _refusal_for(
        self, error: IntegrityError, owner_id: int, cleaned: str
    ) -> Refusal | IntegrityError:
        """What to raise for a broken constraint: only a name that is taken is the owner's doing."""
        same_name = voices_of(owner_id).where(VoiceRow.name_key == name_key(cleaned))
        async with self.database.read() as session:
            is_taken = await session.scalar(same_name) is not None
        return _name_taken() if is_taken else error

    async def _check_room(self, session: AsyncSession, owner_id: int, cleaned: str) -> None:
        """Raise a `Refusal` if the owner has too many voices already, or one of that name."""
        same_name = voices_of(owner_id).where(VoiceRow.name_key == name_key(cleaned))
        if await session.scalar(same_name) is not None:
            raise _name_taken()
        if (await session.scalar(voice_count(owner_id)) or 0) >= self._max_voices_per_user:
            raise Refusal(
                f"You can keep {self._max_voices_per_user} voices, and you have that many. "
                "Delete one with `/voice delete` to make room.",
            )


async def _lock(session: AsyncSession, voice: SavedVoice) -> VoiceRow:
    """Return this very voice's row, locked, or raise the `Refusal` that says it is gone."""
    row = await session.scalar(select(VoiceRow).where(is_voice(voice)).with_for_update())
    if row is None:
        raise _not_found()
    return row


async def _find_row(
    session: AsyncSession,
    owner_id: int,
    name: str,
    *,
    lock: bool = False,
) -> VoiceRow:
    """Return the owner's voice of that name, or raise the `Refusal` that says there is none."""
    key = lookup_key(name)
    if key is None:
        raise _not_found()
    query = voices_of(owner_id).where(VoiceRow.name_key == key)
    voice = await session.scalar(query.with_for_update(of=VoiceRow) if lock else query)
    if voice is None:
        raise _not_found()
    return voice


def _name_taken() -> Refusal:
    return Refusal(
        "You already have a voice with that name. "
        "Pick another name, or delete the old one with `/voice delete`.",
    )


def _not_found() -> Refusal:
    return Refusal(
        "You have no voice with that name. "
        "See the ones you have with `/voice list`, or make one with `/clone`.",
    )
