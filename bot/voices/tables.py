"""The tables for saved voices, the same on SQLite and PostgreSQL."""

# SQLAlchemy reads the annotations here at run time, to define columns.

from datetime import datetime

from sqlalchemy import BigInteger, Double, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from backend.contract import ConsentRecord
from bot.storage.sealed import SealedBytes, SealedText
from bot.storage.tables import Base
from bot.voices.names import MAX_NAME_CHARACTERS
from bot.voices.records import Pronunciation, SavedVoice
from bot.voices.rights import Audience, Share

MAX_OWNER_NAME_CHARACTERS = 32
"""Discord's usernames are no longer."""


class ConsentRow(Base):
    """What a person confirmed for a voice, see `bot.voices.consent`.

    Each voice that is saved has a row of its own. Before 2026-12, a person's voices shared one.
    """

    __tablename__ = "consents"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(BigInteger, index=True)
    statement_version: Mapped[str] = mapped_column(String(32))
    attested_at: Mapped[datetime]
    guild_id: Mapped[int | None] = mapped_column(BigInteger)

    # Without AUTOINCREMENT, SQLite gives a deleted row's id to the next row.
    __table_args__ = ({"sqlite_autoincrement": True},)

    def to_record(self) -> ConsentRecord:
        """Return the consent as the rest of the bot uses it."""
        return ConsentRecord(
            attested_by=self.user_id,
            attested_at=self.attested_at,
            statement_version=self.statement_version,
        )


class PromptRow(Base):
    """The prompt of a saved voice for one model."""

    __tablename__ = "voice_prompts"

    voice_id: Mapped[int] = mapped_column(
        ForeignKey("voices.id", ondelete="CASCADE"), primary_key=True
    )
    model_id: Mapped[str] = mapped_column(String(200), primary_key=True)
    created_at: Mapped[datetime]
    data: Mapped[bytes] = mapped_column(SealedBytes, deferred=True, deferred_raiseload=True)
    loudness: Mapped[float | None] = mapped_column(Double)
    """Of speech with this prompt as the model gives it, in LUFS; None if it was not measured."""


class VoiceSpeedRow(Base):
    """How fast a saved voice speaks, if its owner chose that.

    It is not a column of the voice's row, where SQLite would read a recording to reach it.
    """

    __tablename__ = "voice_speeds"

    voice_id: Mapped[int] = mapped_column(
        ForeignKey("voices.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    speed: Mapped[float] = mapped_column(Double)


class VoiceRow(Base):
    """A saved voice."""

    __tablename__ = "voices"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str] = mapped_column(String(MAX_NAME_CHARACTERS))
    name_key: Mapped[str]
    clip_seconds: Mapped[float] = mapped_column(Double)
    transcript: Mapped[str | None] = mapped_column(SealedText)
    language: Mapped[str | None] = mapped_column(String(32))
    consent_id: Mapped[int] = mapped_column(ForeignKey("consents.id"), index=True)
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    # The last column, because SQLite reads all of it to reach a column after it. A list took 0.3 s.
    clip_flac: Mapped[bytes] = mapped_column(SealedBytes, deferred=True, deferred_raiseload=True)

    consent: Mapped[ConsentRow] = relationship(lazy="raise")
    prompts: Mapped[list[PromptRow]] = relationship(lazy="raise", order_by=PromptRow.model_id)
    chosen_speed: Mapped[VoiceSpeedRow | None] = relationship(lazy="raise", passive_deletes=True)

    __table_args__ = (
        UniqueConstraint("owner_id", "name_key"),
        # All that a search needs, so that it reads the index alone.
        Index("ix_voices_search", "owner_id", "last_used_at", "created_at", "id", "name_key"),
        {"sqlite_autoincrement": True},
    )

    def to_saved_voice(self) -> SavedVoice:
        """Return the voice as the rest of the bot uses it; what it has must be loaded."""
        return SavedVoice(
            id=self.id,
            owner_id=self.owner_id,
            name=self.name,
            clip_seconds=self.clip_seconds,
            transcript=self.transcript,
            language=self.language,
            consent=self.consent.to_record(),
            created_at=self.created_at,
            last_used_at=self.last_used_at,
            prompt_models=tuple(prompt.model_id for prompt in self.prompts),
            speed=1.0 if self.chosen_speed is None else self.chosen_speed.speed,
        )


class ShareRow(Base):
    """That a voice may be used by others in a server.

    Its owner and its key are those of the voice. They are here, too, so that a search through all
    voices that are shared in a server reads one index alone.
    """

    __tablename__ = "voice_shares"

    voice_id: Mapped[int] = mapped_column(
        ForeignKey("voices.id", ondelete="CASCADE"), primary_key=True
    )
    guild_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    audience_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    audience: Mapped[str] = mapped_column(String(8))
    owner_id: Mapped[int] = mapped_column(BigInteger, index=True)
    owner_name: Mapped[str] = mapped_column(String(MAX_OWNER_NAME_CHARACTERS))
    name_key: Mapped[str]
    created_at: Mapped[datetime]

    __table_args__ = (
        Index(
            "ix_voice_shares_search", "guild_id", "audience_id", "name_key", "voice_id", "owner_id"
        ),
        Index(None, "audience_id"),
    )

    def to_share(self) -> Share:
        """Return the share as the rest of the bot uses it."""
        return Share(self.guild_id, Audience(self.audience), self.audience_id)


class DefaultVoiceRow(Base):
    """The voice that a person chose for when they name none.

    `guild_id` is where they chose somebody else's voice; None for one of their own.
    """

    __tablename__ = "default_voices"

    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    voice_id: Mapped[int] = mapped_column(ForeignKey("voices.id", ondelete="CASCADE"), index=True)
    guild_id: Mapped[int | None] = mapped_column(BigInteger)


class SharedUseRow(Base):
    """Which voice of somebody else a person used last in a server."""

    __tablename__ = "shared_uses"

    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    guild_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    voice_id: Mapped[int] = mapped_column(ForeignKey("voices.id", ondelete="CASCADE"), index=True)
    used_at: Mapped[datetime]


class PronunciationRow(Base):
    """What is to be said for a word, in one dictionary."""

    __tablename__ = "pronunciations"

    id: Mapped[int] = mapped_column(primary_key=True)
    whose: Mapped[str] = mapped_column(String(8))
    owner_id: Mapped[int] = mapped_column(BigInteger)
    word: Mapped[str] = mapped_column(String(40))
    word_key: Mapped[str] = mapped_column(String(40))
    spoken: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime]

    __table_args__ = (UniqueConstraint("whose", "owner_id", "word_key"),)

    def to_pronunciation(self) -> Pronunciation:
        """Return the entry as the rest of the bot uses it."""
        return Pronunciation(word=self.word, spoken=self.spoken)
