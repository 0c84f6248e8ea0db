"""What `/privacy export` says, and the readme that is in its archives."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from bot.errors import Reason
from bot.voices.consent import STATEMENTS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

_LINE_CHARACTERS = 88

REFUSALS: dict[Reason, str] = {
    Reason.NOTHING_TO_EXPORT: "I keep nothing about you, so there's nothing to send.",
    Reason.EXPORT_UNDER_WAY: (
        "I'm sending you what I keep about you already. Please wait until that's done."
    ),
    Reason.EXPORT_STOPPED: (
        "Stopped, as you asked. What I've sent by now is yours. For the rest, use "
        "`/privacy export` again."
    ),
    Reason.EXPORT_NOT_SENT: (
        "I couldn't send you all of it, because Discord didn't take it. That's not your fault. "
        "Please use `/privacy export` again in a minute."
    ),
}

SECTIONS = {
    "voices": "Your saved voices. The recording of each is a file in the folder voices.",
    "voice_prompts": (
        "What a voice engine learned from a recording, one for each model. The file in the folder "
        "voice_prompts is of use to that engine alone. It was made of your recording, so it's "
        "yours as well."
    ),
    "voice_speeds": "How fast your voices speak, where you chose that.",
    "consents": (
        "What you confirmed for your voices, when, and in which server. The statement_version "
        "names what it was: "
        + " ".join(f"“{version}” is “{statement}”" for version, statement in STATEMENTS.items())
    ),
    "dictionary": "Your own words, and what I say for them.",
    "shared_voices": (
        "Where your voices are shared, and which voices are shared with you by name. "
        "An audience_id is a member, the number of a role, or the whole server."
    ),
    "default_voice": "The voice you chose for when you name none.",
    "shared_voices_used_last": "Which voice of somebody else you used last in a server.",
    "usage": "How much speech you used on a day.",
    "requests_of_the_last_minute": "When you began something within the last minute or so.",
    "being_made_now": "What I'm making for you right now, or was lately.",
    "keys_of_the_api": "When a key of the HTTP API was made for you. The key itself isn't kept.",
    "posts": "Which of my messages hold your speech. What was said isn't kept.",
    "log": (
        "What you did, and what was decided about you or by you. A text_hash tells only whether a "
        "text was the same as another one."
    ),
    "reports": "What you reported, what you decided, and what was decided on reports about you.",
    "blocks": "Where you're blocked, and whom you blocked. The server 0 means everywhere.",
    "voices_frozen_or_removed": (
        "Which voices of yours can't be used, or which voices you froze or removed. The server 0 "
        "means everywhere."
    ),
}
"""What is in each part of `about-me.json`, by the titles of `PersonalTable`."""


VALUES = {
    "scope_id": "Whose day's use it is; here, always yours.",
    "told_at": "When I told you that little of the day's speech was left.",
    "owner_name": "The username of a shared voice's owner, as it was when they last shared one.",
    "audience": "Whom a voice is shared with: a member, a role or everyone.",
    "loudness": "How loud speech with a voice is before I even it out, in LUFS.",
    "clip_seconds": "How many seconds of a recording I keep.",
    "action": "What was done, such as said, cloned, shared or deleted.",
    "details": "More of what was done, such as whom a voice was shared with.",
    "counted": "How many seconds of it count for the day already.",
    "renewed_at": "When the bot last said that it is still at work on that.",
    "state": "Whether a report is open, or what was decided.",
    "kind": "Which of several kinds it is, such as a report or a claim.",
}
"""What is meant by names in `about-me.json` that don't tell it by themselves."""


def packing(number: int, total: int) -> str:
    """Which file, counted from 1, is being packed."""
    return f"Packing file {number} of {total}…" if total > 1 else "Packing…"


def sent(archives: int) -> str:
    """What the person is told at the end."""
    if archives == 1:
        return (
            "That's everything I keep about you. Save the file: only you can see it, and it goes "
            "when you dismiss the message or close Discord. Its `README.txt` says what's what."
        )
    return (
        f"That's everything I keep about you, in {archives} files. Save each: only you can see "
        "them, and they go when you dismiss the messages or close Discord. `about-me.json` is in "
        "the first one; each has a `README.txt`."
    )


def readme(at: datetime, number: int, damaged: Iterable[str]) -> str:
    """The readme of an archive.

    Args:
        at: When the export began, in UTC.
        number: Which archive it is, from 1.
        damaged: What of it can't be read any more.
    """
    lines = [
        f"What this bot keeps about you, as of {at:%Y-%m-%d %H:%M} UTC",
        "",
    ]
    if number > 1:
        lines += _wrapped(
            f"This is part {number}. about-me.json, which says what each file is, is in the first "
            "part."
        )
    else:
        lines += _wrapped(
            "about-me.json can be read with any text editor. If you got several zip files, the "
            "recordings and prompts it names may be in the others. These are its parts, as far as "
            "there's something in them:"
        )
        lines.append("")
        for title, words in SECTIONS.items():
            lines += [f"{title}:", *_wrapped(words, indent="    ")]
        lines += ["", "Some of the names in these:", ""]
        for name, words in VALUES.items():
            lines += _wrapped(f"{name}: {words}", indent="    ")
        lines.append("")
        lines += _wrapped(
            'Other people are only called "somebody else". Reports about you that nobody has '
            "decided yet, and who reported you, aren't in here. Times are in UTC. Long numbers "
            "are Discord's ids of servers, channels and messages."
        )
    lost = list(damaged)
    if lost:
        lines.append("")
        lines += _wrapped(
            "These are damaged in the database, so they're missing here. That's not your fault. "
            "Tell whoever runs the bot, who may have a backup:"
        )
        lines += [f"    {name}" for name in lost]
    lines.append("")
    lines += _wrapped("To have it deleted, use /privacy delete or /voice delete in Discord.")
    return "\n".join([*lines, ""])


def _wrapped(words: str, *, indent: str = "") -> list[str]:
    return textwrap.wrap(words, _LINE_CHARACTERS, initial_indent=indent, subsequent_indent=indent)
