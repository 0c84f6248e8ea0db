"""How a consent record is put into words, for its owner and for those who moderate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord

from bot.interface.typed_text import as_text
from bot.voices.consent import STATEMENTS

if TYPE_CHECKING:
    from datetime import datetime

    from backend.contract import ConsentRecord


def confirmed(version: str, at: datetime) -> str:
    """What was confirmed and when, completing "You ..." and the like."""
    when = discord.utils.format_dt(at, "f")
    statement = STATEMENTS.get(version)
    if statement is None:  # of a newer bot, or of another program
        return f"confirmed the statement “{as_text(version)}” on {when}."
    return f"confirmed on {when}: “{statement}”"


def just_confirmed(consent: ConsentRecord) -> str:
    """What somebody has confirmed by choosing a permission, to remind them of it."""
    return f"You confirmed: “{STATEMENTS[consent.statement_version]}”"
