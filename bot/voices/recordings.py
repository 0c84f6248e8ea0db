"""Giving a saved voice another recording."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import delete

from bot.storage.database import DatabaseUser, carried_out
from bot.voices.queries import (
    is_voice,
    lock_voices,
    locked_recording,
    unused_consent,
    voices_where,
)
from bot.voices.tables import ConsentRow, PromptRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.contract import ConsentRecord, VoicePrompt
    from bot.storage.database import Database
    from bot.voices.records import SavedVoice


class Recordings(DatabaseUser):
    """Replaces the recordings of voices. Each call is one short transaction."""

    def __init__(
        self, database: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        super().__init__(database)
        self._clock = clock

    @carried_out
    async def replace(  # noqa: PLR0913 - as `VoiceLibrary.save`
        self,
        voice: SavedVoice,
        *,
        clip_flac: bytes,
        clip_seconds: float,
        transcript: str | None,
        language: str | None,
        prompt: VoicePrompt,
        consent: ConsentRecord,
        guild_id: int | None,
    ) -> SavedVoice:
        """Give a voice another recording, with all that was made from it and confirmed for it.

        What is the person's choice stays: the name, the speed, the shares and where the voice is
        the default. So do its id and its dates. The earlier recording is erased with its prompts
        and its consent. The arguments are those of `VoiceLibrary.save`.

        Raises `Refusal` if the voice was deleted, or has another recording than `voice` had. Raises
        ValueError if somebody else gave the consent.
        """
        if consent.attested_by != voice.owner_id:
            raise ValueError("a recording is replaced with the consent of the voice's owner")
        async with self._database.erase() as session:
            await lock_voices(self._database, session, voice.owner_id)
            row = await locked_recording(session, voice)
            earlier_consent = row.consent_id
            confirmed = ConsentRow(
                user_id=voice.owner_id,
                statement_version=consent.statement_version,
                attested_at=consent.attested_at,
                guild_id=guild_id,
            )
            session.add(confirmed)
            await session.flush()
            row.clip_flac, row.clip_seconds = clip_flac, clip_seconds
            row.transcript, row.language = transcript, language
            row.consent_id = confirmed.id
            await session.execute(delete(PromptRow).where(PromptRow.voice_id == voice.id))
            session.add(
                PromptRow(
                    voice_id=voice.id,
                    model_id=prompt.model_id,
                    data=prompt.data,
                    created_at=self._clock(),
                )
            )
            await session.flush()
            await session.execute(unused_consent(earlier_consent))
            again = voices_where(is_voice(voice)).execution_options(populate_existing=True)
            replaced = (await session.scalars(again)).one().to_saved_voice()
        await self._database.erase_remains()
        return replaced
