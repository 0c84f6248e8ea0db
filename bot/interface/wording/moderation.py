"""The sentences about voices that may not be used, and of `/moderation`."""

from __future__ import annotations

from bot.errors import Reason

REFUSALS: dict[Reason, str] = {
    Reason.VOICE_FROZEN_HERE: (
        "That voice was reported, so it's frozen in this server until its admins decide. "
        "Ask one of them, or pick another voice with `/voice list`."
    ),
    Reason.VOICE_FROZEN: (
        "That voice is frozen: somebody reported it, or says that it's their own. Whoever runs "
        "this bot decides what happens next. Until then, use another voice, or make one with "
        "`/clone`."
    ),
    Reason.VOICE_REMOVED_HERE: (
        "The admins of this server have removed that voice here. "
        "Pick another with `/voice list`, or ask one of them. It still works elsewhere."
    ),
    Reason.VOICE_REMOVED: (
        "Whoever runs this bot has removed that voice. Pick another with `/voice list`."
    ),
    Reason.CANNOT_BLOCK_YOURSELF: "You can't block yourself. Pick somebody else.",
    Reason.CANNOT_BLOCK_MANAGERS: (
        "That's a member with Manage Server. Only the server's owner can block one of them."
    ),
    Reason.CANNOT_BLOCK_OPERATORS: "That's one of those who run this bot. Nobody can block them.",
    Reason.ALREADY_BLOCKED: (
        "{person} is blocked here already. `/moderation unblock` lets them use me again."
    ),
    Reason.NOT_BLOCKED: (
        "{person} isn't blocked here. See who is with `/moderation unblock`, without a member."
    ),
    Reason.NO_SUCH_VOICE_HERE: (
        "No voice with that number was used here. See those that were with `/moderation voices`."
    ),
    Reason.ALREADY_REMOVED_HERE: (
        "That voice is removed here already. `/moderation restore` brings it back."
    ),
    Reason.NOT_REMOVED_HERE: (
        "That voice isn't removed here. See its state with `/moderation voices`."
    ),
    Reason.OWN_VOICE_KEPT_AWAY: (
        "That's your own voice, and somebody else decided about it. "
        "Ask them, or another member with Manage Server."
    ),
}
