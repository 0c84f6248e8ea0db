"""Why something is not possible, and what a person should know: as codes with values.

The sentence for each is in `bot/interface/wording/sentences.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

Value = str | int | float
"""What a code may carry. `name` and `voices` are as
people typed them; their sentences show them escaped. `wanted`,
`left` and `most` are lengths of speech in seconds; `again` is a moment in seconds since 1970."""


class Reason(StrEnum):
    """Why something that was asked for is not possible; comments name the values it carries."""

    # Texts
    TEXT_TOO_LONG = "text too long"  # characters, limit
    TEXT_TOO_LONG_SPOKEN = "text too long with the words of dictionaries"  # characters, limit
    NOTHING_TO_SAY = "nothing to say"

    # Dictionaries
    WORD_NOT_SPEAKABLE = "word not speakable"
    WORD_TOO_LONG = "word too long"  # word, spoken: the limits
    NO_SUCH_WORD = "no such word"
    DICTIONARY_FULL = "dictionary full"  # limit

    # Recordings
    UPLOAD_EMPTY = "upload empty"
    UPLOAD_TOO_LARGE = "upload too large"  # megabytes: the limit
    UPLOAD_NOT_FETCHED = "upload not fetched"
    NOT_A_RECORDING = "not a recording"
    RECORDING_KIND_UNKNOWN = "recording of an unknown kind"
    DECODER_BROKEN = "decoder does not start"
    RECORDING_TOO_SLOW = "recording too slow to read"
    RECORDING_DAMAGED = "recording damaged"
    RECORDING_SILENT = "recording silent"
    NO_SPEECH = "no speech"
    TOO_LITTLE_SPEECH = "too little speech"  # seconds, minimum
    MOSTLY_PAUSES = "mostly pauses"  # seconds, minimum
    TOO_LITTLE_SPEECH_IN_LONG_RECORDING = "too little speech in a long recording"  # minutes
    TOO_LONG_FOR_TRANSCRIPT = "recording too long for its transcript"  # seconds, maximum
    MUCH_TOO_LONG_FOR_TRANSCRIPT = "recording much too long for its transcript"  # minutes, maximum
    TOO_MANY_UPLOADS = "too many uploads"
    NOTHING_IS_MARKED = "backend marks nothing"
    PREVIEW_MARKS_NOTHING = "preview marks nothing"

    # Saved voices
    NAME_EMPTY = "name empty"
    NAME_TOO_LONG = "name too long"  # limit
    NAME_HIDES_CHARACTERS = "name hides characters"
    NAME_INVISIBLE = "name invisible"
    NAME_TAKEN = "name taken"
    NO_SUCH_VOICE = "no such voice"
    NO_VOICE_YET = "no voice yet"
    NO_VOICES_KEPT = "no voices are kept, because there is no database"
    TOO_MANY_VOICES = "too many voices"  # limit
    VOICE_DELETED = "voice deleted"
    VOICE_DELETED_MEANWHILE = "voice deleted meanwhile"
    CLIP_DAMAGED = "clip damaged"
    SENTENCE_NOT_HEARD = "the sentence to read aloud was not heard"  # sentence
    NOTHING_IS_HEARD = "the voice engine has no transcriber to hear a sentence with"
    SENTENCE_NOT_ALONE = "sentence heard among much else"  # sentence
    SENTENCE_SYNTHETIC = "sentence read by a voice of the bot"  # sentence
    SENTENCE_USED = "sentence read for another voice meanwhile"
    NOTHING_WOULD_BE_HEARD = "consent can't be asked for aloud with an engine that hears nothing"
    CONSENT_NOT_SPOKEN = "the voice's consent is not spoken, as the server asks for"  # name
    OTHERS_CONSENT_NOT_SPOKEN = "the same, of a voice that is shared with the person"  # name
    TRANSCRIPT_EMPTY = "transcript empty"
    VOICE_GONE = "voice that was shown before deleted, or not the person's"
    VOICE_KEPT = "voice kept"  # name
    RECORDING_KEPT = "recording of a voice kept"  # name
    RECORDING_STAYS = "voice frozen, removed or claimed, so that its recording stays"  # name
    RECORDING_REPLACED = "recording of a voice replaced meanwhile"
    RECORDING_NOT_SENT = "recording of a voice not sent to its owner"
    EVERYTHING_KEPT = "everything kept"
    NOTHING_KEPT = "nothing kept"
    ALL_DELETED_MEANWHILE = "everything deleted meanwhile"

    # A copy of what is kept
    NOTHING_TO_EXPORT = "nothing to export"
    EXPORT_UNDER_WAY = "export under way"
    EXPORT_STOPPED = "export stopped"
    EXPORT_NOT_SENT = "export not sent"

    # Shared voices
    NO_VOICE_TO_USE = "no voice with that name that the person may use there"
    VOICE_NOT_SHARED = "voice not shared with the person there"
    DEFAULT_NOT_SHARED = "voice that was chosen as default not shared any more"  # name
    LAST_NOT_SHARED = "voice that was used last not shared any more"  # name
    VOICE_UNSHARED_MEANWHILE = "voice not shared any more meanwhile"
    VOICE_OWNER_BLOCKED = "owner of the voice blocked"
    SEVERAL_VOICES = "several voices of that name"  # voices: their names, with their owners'
    NOT_YOUR_VOICE = "somebody else's voice"  # name
    TOO_MANY_SHARES = "shared with too many"  # limit
    ALREADY_SHARED = "shared already"  # name, with_whom
    NOT_SHARED = "not shared"  # name
    NOT_SHARED_HERE = "not shared in the server"  # name
    NOT_SHARED_WITH = "not shared with those"  # name, with_whom
    SHARED_WITH_EVERYONE = "not shared with those, but with everyone there"  # name, with_whom
    SHARED_WITH_ROLE = "not shared with them, but with a role of theirs"  # name, with_whom, role
    ALREADY_YOURS = "one's own voice"
    SHARING_ONLY_IN_SERVERS = "sharing only in servers"
    CANNOT_SHARE_WITH_BOTS = "bots can't use voices"
    NOTHING_SHARED = "owner did not confirm sharing"  # name
    NOT_A_MEMBER = "not a member of the server"

    # Menus and buttons of messages
    NOTHING_TO_SAY_AGAIN = "no text beside the speech"
    SAYING_IT_AGAIN = "being said again already"
    MESSAGE_WITHOUT_TEXT = "no text in the message"
    MESSAGE_WITHOUT_RECORDING = "no recording in the message"
    MESSAGE_IS_SPEECH = "message of the bot's own"

    # The database
    DATABASE_NOT_READ = "database not read"
    DATABASE_NOT_WRITTEN = "database not written"

    # Who may use the bot, and where
    SERVER_NOT_ALLOWED = "server not allowed"
    NO_DIRECT_MESSAGES = "no direct messages"
    BLOCKED_HERE = "blocked in this server"
    BLOCKED_EVERYWHERE = "blocked everywhere"
    NOT_IN_THIS_CHANNEL = "not in this channel"  # channels: the ids of those where it may be used
    NOT_IN_THIS_VOICE_CHANNEL = "not in this voice channel"  # channels
    ROLE_NEEDED_TO_SPEAK = "role needed to speak"  # roles: their ids
    ROLE_NEEDED_TO_CLONE = "role needed to clone"  # roles
    ONLY_MANAGERS = "only for members with Manage Server"
    ONLY_OPERATORS = "only for operators"

    # Settings of a server
    SERVER_NOT_SEEN = "reconnecting to Discord, which has not said yet what the server has"
    CHOICE_GONE = "choice gone"
    MAY_NOT_POST_THERE = "may not post in the channel that was chosen"  # channel
    LIMIT_NOT_A_NUMBER = "limit not a number"
    LIMIT_TOO_HIGH = "limit above the operator's"  # what, limit

    # Limits
    TOO_MANY_COMMANDS = "too many commands"  # count
    TOO_MANY_REQUESTS = "too many requests in a minute"  # limit, again
    SERVER_BUSY = "too many commands in the server"  # count
    TOO_MANY_CHANNELS = "in too many voice channels"  # count
    OWN_SPEECH_USED_UP = "the person's speech of the day is used up"  # again
    OWN_SPEECH_TOO_LITTLE = "too little is left of the person's speech"  # wanted, left, again
    SERVER_SPEECH_USED_UP = "the server's speech of the day is used up"  # again
    SERVER_SPEECH_TOO_LITTLE = "too little is left of the server's speech"  # wanted, left, again
    ALL_SPEECH_USED_UP = "everybody's speech of the day is used up"  # again
    ALL_SPEECH_TOO_LITTLE = "too little is left of everybody's speech"  # wanted, left, again
    LONGER_THAN_A_DAY = "longer than the speech of a day"  # wanted, most

    # Commands
    STOPPED = "stopped"
    RESTARTING = "restarting"
    NEVER_SLEEPS = "backend never sleeps"
    MAY_NOT_POST = "may not post"
    NOT_POSTED = "not posted"
    ONLY_IN_SERVERS = "only in servers"

    # Moderation
    VOICE_FROZEN_HERE = "voice frozen in the server"
    VOICE_FROZEN = "voice frozen everywhere"
    VOICE_REMOVED_HERE = "voice removed from the server"
    VOICE_REMOVED = "voice removed everywhere"
    CANNOT_BLOCK_YOURSELF = "one can't block oneself"
    CANNOT_BLOCK_MANAGERS = "only the server's owner may block its managers"
    CANNOT_BLOCK_OPERATORS = "operators can't be blocked"
    ALREADY_BLOCKED = "already blocked"  # person: a mention
    NOT_BLOCKED = "not blocked"  # person: a mention
    NO_SUCH_VOICE_HERE = "no voice with that number was used in the server"
    ALREADY_REMOVED_HERE = "already removed from the server"
    NOT_REMOVED_HERE = "not removed from the server"
    OWN_VOICE_KEPT_AWAY = "others decided about one's own voice"

    # Reports
    NOT_MY_SPEECH = "not speech of the bot, or too old"
    NOT_A_MESSAGE_LINK = "not a link to a message"
    JOIN_FIRST_TO_REPORT = "join a voice channel first, or name a message"
    NOTHING_HEARD = "nothing heard in the voice channel"
    OWN_SPEECH = "one's own speech"
    ALREADY_REPORTED = "already reported"
    REPORT_DECIDED = "report decided"
    TOO_MANY_REPORTS = "too many reports"  # limit, again: when it works again, a timestamp
    TOO_MANY_CLAIMS = "too many claims"  # limit, again
    REPORT_GONE = "report not kept any more"
    REPORT_NOT_YOURS = "somebody else's report"
    REPORT_OF_ANOTHER_SERVER = "report of another server"
    ONLY_OPERATORS_DECIDE = "only operators decide"
    DECIDED_BY_OPERATOR = "decided by the operator"
    DECIDED_MEANWHILE = "decided meanwhile"
    STILL_CLAIMED = "somebody's claim on the voice waits"
    REPORT_ABOUT_YOU = "report about oneself"

    # Voice channels
    RECONNECTING = "reconnecting to Discord, which has not said yet who is in voice"
    JOIN_FIRST = "join a voice channel first"
    JOIN_FIRST_OR_FILE = "join a voice channel first, or take a file"
    IN_ANOTHER_CHANNEL = "in another channel"  # channel: its mention
    IN_HIDDEN_CHANNEL = "in a channel that the member can't see"
    MOVED_AWAY = "moved to another channel"
    AFK_CHANNEL = "channel for members who are away"
    MEMBER_MUTED = "member muted"
    MEMBER_IN_AUDIENCE = "member in a stage's audience"
    MEMBER_MAY_NOT_SPEAK = "member may not speak"
    MEMBER_TIMED_OUT = "member timed out"
    MEMBER_GONE = "no longer a member of the guild"
    NOT_IN_A_CHANNEL = "not in a voice channel"
    MAY_NOT_JOIN = "may not join"  # channel
    MAY_NOT_SPEAK = "may not speak"  # channel
    MAY_NOT_SPEAK_ON_STAGE = "may not speak on the stage"  # channel
    CHANNEL_FULL = "channel full"  # channel
    NO_OPUS = "no libopus"
    NO_LONGER_IN_GUILD = "no longer in the guild"
    REMOVED_FROM_GUILD = "removed from the guild"
    EVERYBODY_LEFT = "everybody left"
    DISCONNECTED = "disconnected"
    VOICE_RATE_LIMITED = "rate limited by the voice gateway"
    NO_VOICE_CONNECTION = "no voice connection"
    VOICE_CONNECTION_LOST = "voice connection lost"
    CANNOT_BE_HEARD = "cannot be heard"
    PARTLY_UNHEARD = "partly unheard"
    PLAYER_FAILED = "player failed"
    PLAYER_RESTARTING = "player restarting"
    OWN_QUEUE_FULL = "own queue full"  # limit
    QUEUE_FULL = "queue full"  # limit
    NOTHING_PLAYING = "nothing playing"
    NOTHING_OF_YOURS_PLAYING = "nothing of yours playing"
    OTHERS_WAIT = "others wait to be heard"
    OTHERS_LISTEN = "others listen"
    ONLY_LISTENERS_VOTE = "only listeners vote"  # channel
    SPEECH_STOPPED = "speech stopped"
    SKIPPED = "skipped"
    SKIPPED_BY = "skipped by somebody"  # name
    SKIPPED_BY_VOTE = "skipped by vote"
    ALL_STOPPED_BY = "everything stopped by somebody"  # name
    SENT_AWAY_BY = "sent away by somebody"  # name


class Remark(StrEnum):
    """What a person should know though all goes well; comments name the values it carries."""

    RECORDING_SHORTENED = "recording shortened"  # seconds, used
    LONG_RECORDING_SHORTENED = "long recording shortened"  # minutes, used
    RECORDING_CLIPS = "recording clips"
    RECORDING_NOISY = "recording noisy"
    RECORDING_HAS_MUSIC = "music in the recording"
    RECORDING_HAS_TWO_VOICES = "two voices in the recording"
    LITTLE_SPEECH_LEFT = "little is left of the person's speech"  # left, again
    NO_SPEECH_LEFT = "nothing is left of the person's speech"  # again
    STAGE_INVITATION_NEEDED = "stage invitation needed"  # channel
    ASKED_TO_SPEAK_ON_STAGE = "asked to speak on the stage"  # channel


@dataclass(frozen=True, slots=True)
class Note:
    """A remark with its values, as data: `wording.note` has the words."""

    remark: Remark
    values: dict[str, Value] = field(default_factory=dict)


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not a fault
    """Something that was asked for is not possible, for a reason the person can act on.

    Args:
        reason: Why.
        values: What the reason's sentence names; nothing from inside an upload.
    """

    def __init__(self, reason: Reason, **values: Value) -> None:
        super().__init__(reason, values)
        self.reason = reason
        self.values = values

    def __str__(self) -> str:
        return str(self.reason)
