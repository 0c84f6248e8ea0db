"""The sentences about who may use the bot, and about the settings of a server."""

from __future__ import annotations

from bot.errors import Reason

SETTINGS = "An admin can change that with `/settings`."
STILL_YOURS = (
    "You can still see, get and delete what's yours, with `/voice list`, `/privacy export` and "
    "`/forget`."
)

REFUSALS: dict[Reason, str] = {
    Reason.SERVER_NOT_ALLOWED: (
        "I'm not meant to be used in this server. "
        f"Please ask whoever runs this bot to allow it. {STILL_YOURS}"
    ),
    Reason.NO_DIRECT_MESSAGES: (
        f"I don't do that in direct messages. Please use it in a server that I'm in. {STILL_YOURS}"
    ),
    Reason.BLOCKED_HERE: (
        "An admin has blocked you from using me in this server. "
        f"Please ask them if you think that's a mistake. {STILL_YOURS} "
        "If somebody uses your own voice, send me `/voice claim` in a direct message."
    ),
    Reason.BLOCKED_EVERYWHERE: (
        "Whoever runs this bot has blocked you from using it. "
        f"Please ask them if you think that's a mistake. {STILL_YOURS}"
    ),
    Reason.NOT_IN_THIS_CHANNEL: (
        f"In this server, I can be used only in {{channels}}. Please try it there. {SETTINGS}"
    ),
    Reason.NOT_IN_THIS_VOICE_CHANNEL: (
        "In this server, I speak only in {channels}. "
        f"Join me there, or use `/say` with `where: file`. {SETTINGS}"
    ),
    Reason.ROLE_NEEDED_TO_SPEAK: (
        f"In this server, I speak only for members with the role {{roles}}. {SETTINGS}"
    ),
    Reason.ROLE_NEEDED_TO_CLONE: (
        f"In this server, only members with the role {{roles}} can make voices. {SETTINGS}"
    ),
    Reason.ONLY_MANAGERS: (
        "Only members with the Manage Server permission can use that. Ask one of them."
    ),
    Reason.ONLY_OPERATORS: (
        "Only whoever runs this bot can use that here, because it costs them money. "
        "Please ask them."
    ),
    Reason.SERVER_NOT_SEEN: (
        "I'm reconnecting to Discord, so I can't see this server's channels and roles yet. "
        "Please try again in a minute."
    ),
    Reason.CHOICE_GONE: (
        "I can't find what you chose; it may have been deleted. Please choose again."
    ),
    Reason.MAY_NOT_POST_THERE: (
        "I'm not allowed to post in {channel}. Give me View Channel, Send Messages and Embed Links "
        "there, then choose it again."
    ),
    Reason.LIMIT_NOT_A_NUMBER: (
        "A limit is a whole number, such as 5, with at least 1 and at most five digits. "
        "Leave a field empty for the limit of whoever runs this bot. I changed nothing."
    ),
    Reason.LIMIT_TOO_HIGH: (
        "Whoever runs this bot allows at most {limit} for “{what}”. "
        "Please choose less, or leave it empty. I changed nothing."
    ),
}
