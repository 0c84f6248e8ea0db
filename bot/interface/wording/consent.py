"""Consent in words: what was confirmed, and what has to be read aloud."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord

from bot.errors import Reason
from bot.interface.typed_text import as_text
from bot.voices.consent import STATEMENTS, is_by_permission
from bot.voices.spoken_consent import SECONDS_TO_READ

if TYPE_CHECKING:
    from datetime import datetime

    from backend.contract import ConsentRecord
    from bot.voices.spoken_consent import ConsentSentence

REFUSALS: dict[Reason, str] = {
    Reason.SENTENCE_NOT_HEARD: (
        "I can't hear all of this in that recording:\n> {sentence}\n"
        "Have the speaker read it once more, slowly, and send that with `/clone`."
    ),
    Reason.SENTENCE_NOT_ALONE: (
        "There's more to hear in that recording than this:\n> {sentence}\n"
        "Have the speaker read just that, and send it with `/clone`."
    ),
    Reason.SENTENCE_SYNTHETIC: (
        "That recording carries the mark of speech that I make, so it's no consent:\n> {sentence}\n"
        "Have the speaker read it themselves, and send that with `/clone`. "
        "A steady tone behind a voice can look like the mark, so record it in a quiet place."
    ),
    Reason.SENTENCE_USED: (
        "You've just made another voice with that sentence, and each is good for one. "
        "Use `/clone` again, and I'll give you a new one."
    ),
    Reason.NOTHING_IS_HEARD: (
        "This server asks for consent that is read aloud, but the voice engine here can't hear "
        "words. An admin can change that in `/settings`, or ask whoever runs this bot."
    ),
    Reason.NOTHING_WOULD_BE_HEARD: (
        "The voice engine here can't hear words, so nobody could make a voice. "
        "Ask whoever runs this bot for one that can. I changed nothing."
    ),
    Reason.CONSENT_NOT_SPOKEN: (
        "This server only takes voices whose speaker read a sentence aloud. "
        "Make **{name}** again here with `/clone`; I'll tell you what to read."
    ),
    Reason.OTHERS_CONSENT_NOT_SPOKEN: (
        "This server only takes voices whose speaker read a sentence aloud, and **{name}** was "
        "made without. Its owner can make it again here; until then, pick another with "
        "`/voice list`."
    ),
}
"""Why a recording, or a voice, isn't enough where consent has to be read aloud."""


def confirmed(version: str, at: datetime) -> str:
    """What was confirmed and when, completing "You ..." and the like."""
    when = discord.utils.format_dt(at, "f")
    statement = STATEMENTS.get(version)
    if statement is None:  # of a newer bot, or of another program
        return f"confirmed the statement “{as_text(version)}” on {when}."
    return f"confirmed on {when}: “{statement}”"


def to_read_aloud(sentence: ConsentSentence) -> str:
    """What somebody has to do who wants to make a voice where consent is read aloud."""
    minutes = round(SECONDS_TO_READ / 60)
    return (
        "This server asks the speaker to say that they allow this. Record them reading this aloud. "
        f"In the next {minutes} minutes, send the recording with `/clone`, or post it and "
        f"choose Apps, Clone this voice, in the menu of that message:\n> {sentence.text}"
    )


def saved_as(name: str, consent: ConsentRecord) -> str:
    """What somebody is told whose voice, named by `name`, was just saved; the name is escaped."""
    whose = "The" if is_by_permission(consent) else "Your"
    return f"{whose} voice is saved as {name}. Use it any time with `/say`."


NOT_SAVED = "I didn't keep this voice. To keep it, use `/clone` again with a `name`."
"""What somebody is told who made a voice without a name."""


def just_confirmed(consent: ConsentRecord) -> str:
    """What somebody has confirmed by choosing a permission, to remind them of it."""
    return f"You confirmed: “{STATEMENTS[consent.statement_version]}”"
