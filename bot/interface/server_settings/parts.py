"""The parts of a server's settings: what they are called, and what is said about them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

SECONDS_A_MINUTE = 60


class Part(StrEnum):
    """What can be changed on its own. A value is the name in `ServerSettings`, but for the limits.

    The values are also in the ids of buttons and in the audit log.
    """

    REPORT_CHANNEL = "report_channel_id"
    AUDIT_CHANNEL = "audit_channel_id"
    CLONE_ROLES = "clone_roles"
    SPEAK_ROLES = "speak_roles"
    CHANNELS = "channels"
    VOICE_CHANNELS = "voice_channels"
    SPOKEN_CONSENT = "spoken_consent"
    DEFAULT_VOICE = "default_voice_id"
    LIVE_ATTRIBUTION = "live_attribution"
    LIMITS = "limits"


@dataclass(frozen=True, slots=True)
class Words:
    """What is said about a part: its name, what it means, and what holds if nothing is chosen."""

    name: str
    meaning: str
    by_default: str


WORDS = {
    Part.REPORT_CHANNEL: Words(
        "Reports",
        "The channel where I post what members report. Choose one that only moderators see.",
        "Not posted here. Whoever runs this bot still gets them.",
    ),
    Part.AUDIT_CHANNEL: Words(
        "Log",
        "The channel where I post who did what with which voice, and never what was said.",
        "Not posted here. You can read it with `/moderation log`.",
    ),
    Part.CLONE_ROLES: Words(
        "Who can make voices",
        "Members with one of these roles, and whoever has Manage Server. "
        "A new voice speaks at once, so they also need to be among those who can speak.",
        "Everyone who can speak",
    ),
    Part.SPEAK_ROLES: Words(
        "Who can speak",
        "Members with one of these roles, and whoever has Manage Server.",
        "Everyone",
    ),
    Part.CHANNELS: Words(
        "Where I can be used",
        "The channels in which people can make me speak, and where I post what I say. "
        "Their threads count, too.",
        "In every channel",
    ),
    Part.VOICE_CHANNELS: Words(
        "Voice channels",
        "The voice channels in which I can be heard. Commands can be typed in their chats, too.",
        "In every voice channel",
    ),
    Part.SPOKEN_CONSENT: Words(
        "Consent read aloud",
        "Whoever makes a voice gets a new sentence, which the speaker reads aloud in the "
        "recording. Voices that were made without that can't be used here.",
        "",
    ),
    Part.DEFAULT_VOICE: Words(
        "Default voice",
        "The voice of members who have none and name none. It can be any voice that its owner "
        "shares with everyone here.",
        "None",
    ),
    Part.LIVE_ATTRIBUTION: Words(
        "Who asked, in voice channels",
        "In the chat of a voice channel, I say which voice is heard there, that it's synthetic, "
        "and who asked: once an hour for each person, if it's posted nowhere else. "
        "`/queue` shows that in any case.",
        "",
    ),
    Part.LIMITS: Words(
        "Limits",
        "How much people can use me here. It can be less than whoever runs this bot allows. "
        "What a person uses in other servers counts, too.",
        "",
    ),
}
"""What is said about each part, in the order in which they are shown."""

SWITCHES = {
    Part.SPOKEN_CONSENT: ("Not asked for", "Asked for"),
    Part.LIVE_ATTRIBUTION: ("Not said, except in `/queue`", "Said in the channel's chat"),
}
"""What can be turned on or off: how it is shown while it is off, and while it is on."""


def part_name(value: str) -> str | None:
    """What people call a part, given its value; None if there is no such part."""
    return WORDS[Part(value)].name if value in set(Part) else None


@dataclass(frozen=True, slots=True)
class LimitField:
    """A limit as people read and write it.

    Attributes:
        name: Its name in `ServerSettings` and in `Limits`.
        title: What it limits.
        unit: How much of it is one as people write it: 60 for seconds written in minutes.
    """

    name: str
    title: str
    unit: int = 1

    def shown(self, amount: int | None) -> str:
        """An amount, as people read it."""
        if amount is None:
            return "no limit"
        return f"{amount / self.unit:,.2f}".rstrip("0").rstrip(".")


LIMIT_FIELDS = (
    LimitField("seconds_per_person", "Minutes of speech a day, for each person", SECONDS_A_MINUTE),
    LimitField("seconds_per_server", "Minutes of speech a day, for all together", SECONDS_A_MINUTE),
    LimitField("requests_per_minute", "Commands a minute, for each person"),
    LimitField("at_once_per_person", "Commands at the same time, for each person"),
    LimitField("at_once_per_server", "Commands at the same time, for all together"),
)
