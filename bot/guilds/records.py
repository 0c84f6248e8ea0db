"""The values that this room returns. They need no open database."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date, datetime

EVERYWHERE = 0
"""Instead of a server's id: the operator's decision, which counts in every server and elsewhere."""


class WorkKind(StrEnum):
    """What the bot does for somebody. The values are stored."""

    REQUEST = "request"
    """Makes a file of speech, or a voice."""

    LIVE = "live"
    """Makes speech that is heard in a voice channel, now or when it is its turn."""

    CHANNEL = "channel"
    """Is in a voice channel."""


class Scope(StrEnum):
    """Who used something. The values are stored."""

    PERSON = "person"
    SERVER = "server"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class DayUsage:
    """What a person, a server or everybody used on one day.

    Attributes:
        scope: Which of these it is.
        scope_id: The Discord id of the person or server; 0 for everybody.
        day: The calendar day in UTC.
        seconds: Of speech that was made for requests which began on that day.
        requests: How many were begun.
        told_at: When the person was told that little is left, in UTC; None if they were not.
    """

    scope: Scope
    scope_id: int
    day: date
    seconds: float
    requests: int
    told_at: datetime | None


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What the admins of a server decided. Its defaults allow all that the operator allows.

    Attributes:
        report_channel_id: Where reports are posted, or None.
        audit_channel_id: Where the audit log is posted, or None.
        clone_roles: Ids of the roles that may clone; empty if everyone may.
        speak_roles: Ids of the roles that may speak, which cloning does too; empty if everyone may.
        channels: Ids of the channels in which people may let the bot speak; empty for all. A
            voice channel's own chat is one of them.
        voice_channels: Ids of the voice channels in which it may be heard; empty for all.
        spoken_consent: Whether only voices may speak whose speaker says in the recording that they
            allow it.
        live_attribution: Whether a voice channel's chat is told whose voice is heard there, and who
            asked.
        seconds_per_person: Of speech a day; None for the operator's limit, as in all that follow.
        seconds_per_server: Of speech a day.
        requests_per_minute: Of one person.
        at_once_per_person: Requests at the same time.
        at_once_per_server: Requests at the same time.
        default_voice_id: The voice for members who have none and name none, or None.
    """

    report_channel_id: int | None = None
    audit_channel_id: int | None = None
    clone_roles: frozenset[int] = frozenset()
    speak_roles: frozenset[int] = frozenset()
    channels: frozenset[int] = frozenset()
    voice_channels: frozenset[int] = frozenset()
    spoken_consent: bool = False
    live_attribution: bool = True
    seconds_per_person: int | None = None
    seconds_per_server: int | None = None
    requests_per_minute: int | None = None
    at_once_per_person: int | None = None
    at_once_per_server: int | None = None
    default_voice_id: int | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """A person who may not use the bot in a server, or anywhere.

    Attributes:
        user_id: Who is blocked.
        guild_id: The server, or `EVERYWHERE`.
        by: The Discord id of who decided it; None for the operator's command line.
        at: In UTC.
        report_id: The report that it was decided on, or None.
    """

    user_id: int
    guild_id: int
    by: int | None
    at: datetime
    report_id: int | None


@dataclass(frozen=True, slots=True)
class BlockPage:
    """Some of a server's blocks, the latest first.

    Attributes:
        blocks: Those of this page.
        total: How many there are on all pages.
    """

    blocks: tuple[Block, ...]
    total: int


class FreezeKind(StrEnum):
    """What keeps a voice from being used. The values are stored."""

    FROZEN = "frozen"
    """Until a report is decided, or somebody lifts it."""

    REMOVED = "removed"
    """For good."""


@dataclass(frozen=True, slots=True)
class Freeze:
    """A voice that may not be used in a server, or anywhere.

    Attributes:
        voice_id: The voice.
        guild_id: The server, or `EVERYWHERE`.
        owner_id: Whose voice it is.
        kind: Until when.
        by: The Discord id of who decided it; None for the operator's command line.
        at: In UTC.
        report_id: The report that it was decided on, or None.
    """

    voice_id: int
    guild_id: int
    owner_id: int
    kind: FreezeKind
    by: int | None
    at: datetime
    report_id: int | None


class ReportKind(StrEnum):
    """What a person says about a voice. The values are stored."""

    REPORT = "report"
    """Something was said that should not have been."""

    CLAIM = "claim"
    """It is the person's own voice, cloned by somebody else."""


class ReportState(StrEnum):
    """What became of a report. The values are stored."""

    OPEN = "open"
    UPHELD = "upheld"
    DISMISSED = "dismissed"


@dataclass(frozen=True, slots=True)
class Subject:
    """Speech that is reported.

    Attributes:
        guild_id: The server, or None for a direct message.
        channel_id: Of the message or the voice channel.
        message_id: The message, or None for what was heard in a voice channel.
        voice_id: The voice, or None for one without a name.
        owner_id: Whose voice it is.
        asker_id: Who had it said, if it isn't the owner of the voice; else None.
    """

    guild_id: int | None
    channel_id: int
    message_id: int | None
    voice_id: int | None
    owner_id: int
    asker_id: int | None = None

    @property
    def said_by(self) -> int:
        """The Discord id of who had it said."""
        return self.owner_id if self.asker_id is None else self.asker_id


@dataclass(frozen=True, slots=True)
class Report:
    """What somebody reported.

    Attributes:
        id: Never used for another report.
        kind: What the person says.
        guild_id: The server, or None for a direct message.
        channel_id: Of the message or the voice channel.
        message_id: The message, or None for what was heard in a voice channel.
        voice_id: The voice, or None if it has no name or is not known.
        owner_id: Whose voice it is.
        reporter_id: Who reported it.
        at: In UTC.
        consent_at: When the owner confirmed that the voice may be cloned, in UTC, or None.
        consent_version: Which statement they confirmed, or None.
        state: What became of it.
        decided_by: The Discord id of who decided it; None while open, or for the command line.
        decided_in: The server that decided it, or `EVERYWHERE` for the operator; None while open.
        decided_at: In UTC, or None while open.
        asker_id: Who had it said, if it isn't the owner of the voice; else None.
    """

    id: int
    kind: ReportKind
    guild_id: int | None
    channel_id: int
    message_id: int | None
    voice_id: int | None
    owner_id: int
    reporter_id: int
    at: datetime
    consent_at: datetime | None
    consent_version: str | None
    state: ReportState
    decided_by: int | None
    decided_in: int | None
    decided_at: datetime | None
    asker_id: int | None = None

    @property
    def accused_id(self) -> int:
        """Who would be blocked: the person who had it said; on a claim, the voice's owner."""
        if self.asker_id is None or self.kind is ReportKind.CLAIM:
            return self.owner_id
        return self.asker_id


@dataclass(frozen=True, slots=True)
class Notice:
    """A message of ours that shows a report.

    Attributes:
        report_id: The report.
        message_id: The message.
        channel_id: Where it is.
        guild_id: Where its buttons decide: in that server, or `EVERYWHERE`.
        names_reporter: Whether it says who has sent the report.
    """

    report_id: int
    message_id: int
    channel_id: int
    guild_id: int
    names_reporter: bool


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key with which a person uses the HTTP API. The key itself is not kept.

    Attributes:
        id: Never used for another key.
        user_id: The Discord id of the person that it stands for.
        name: What it is for, as whoever made it typed it; may be empty.
        created_at: In UTC.
        last_used_at: In UTC, to the minute; None if it was never used.
    """

    id: int
    user_id: int
    name: str
    created_at: datetime
    last_used_at: datetime | None


class AuditAction(StrEnum):
    """What happened. The values are stored."""

    CLONED = "cloned"
    REPLACED = "replaced"
    SPOKE_FILE = "spoke_file"
    SPOKE_VOICE = "spoke_voice"
    DELETED = "deleted"
    SHARED = "shared"
    UNSHARED = "unshared"
    FORGOT = "forgot"
    BLOCKED = "blocked"
    UNBLOCKED = "unblocked"
    FROZEN = "frozen"
    UNFROZEN = "unfrozen"
    REMOVED = "removed"
    REPORTED = "reported"
    CLAIMED = "claimed"
    DECIDED = "decided"
    SETTINGS_CHANGED = "settings_changed"
    WARMED = "warmed"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the audit log. It holds no text and no file's name.

    Attributes:
        id: Never used for another entry. A later entry has a larger one.
        at: In UTC.
        action: What happened.
        actor_id: Who did it; None for the operator's command line, and for who was forgotten since.
        guild_id: In which server, or None for a direct message or the command line.
        voice_id: Which voice it was about, if any.
        owner_id: Whose voice, or which person it was about, if any.
        text_hash: A keyed hash of the spoken text, in hex, if any.
        details: A short code of our own that says more, if any.
    """

    id: int
    at: datetime
    action: AuditAction
    actor_id: int | None
    guild_id: int | None
    voice_id: int | None
    owner_id: int | None
    text_hash: str | None
    details: str | None


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Some lines of a server's audit log, the latest first.

    Attributes:
        entries: Those of this page.
        total: How many there are on all pages.
    """

    entries: tuple[AuditEntry, ...]
    total: int


@dataclass(frozen=True, slots=True)
class VoiceUse:
    """How a voice was used in a server, as far as the audit log goes back.

    Attributes:
        voice_id: The voice.
        owner_id: Whose voice it is.
        uses: How often it was made or spoke there.
        last_at: When it last did, in UTC.
    """

    voice_id: int
    owner_id: int
    uses: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class VoiceUsePage:
    """Some of the voices that were used in a server, the most recently used first.

    Attributes:
        voices: Those of this page.
        total: How many there are on all pages.
    """

    voices: tuple[VoiceUse, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Post:
    """A message that holds somebody's speech.

    Attributes:
        message_id: The message.
        channel_id: Where it is.
        guild_id: The server, or None for a direct message.
        voice_id: The voice, or None for one without a name.
        owner_id: Whose voice it is.
        at: In UTC.
        asker_id: Who had it said, if it isn't the owner of the voice; else None.
    """

    message_id: int
    channel_id: int
    guild_id: int | None
    voice_id: int | None
    owner_id: int
    at: datetime
    asker_id: int | None = None


@dataclass(frozen=True, slots=True)
class ForgottenUse:
    """What was erased of how a person used the bot.

    Attributes:
        had_any: Whether there was anything.
        is_complete: Whether no copy is left in the database's log. If one is, it is removed soon.
    """

    had_any: bool
    is_complete: bool
