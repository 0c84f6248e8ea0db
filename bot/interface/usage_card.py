"""The card that shows what was used of the limits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import discord

from bot.guilds.limits import next_day
from bot.interface.cards import ACCENT
from bot.interface.wording.limits import counted, whole_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from bot.guilds.records import DayUsage


def usage_card(
    now: datetime,
    parts: Sequence[tuple[str, DayUsage, int | None]],
    top_servers: Sequence[tuple[str, DayUsage]] = (),
) -> discord.Embed:
    """What was used today.

    Args:
        now: The time, in UTC.
        parts: Whose usage it is, already escaped; what that is; and how many seconds of speech the
            limit is, or None for no limit.
        top_servers: The servers that used most, already escaped.
    """
    again = discord.utils.format_dt(next_day(now), "R")
    card = discord.Embed(
        title="Used today",
        description=f"This starts again from zero {again}.",
        colour=ACCENT,
    )
    for name, usage, limit in parts:
        card.add_field(name=name, value=_used(usage, limit), inline=False)
    if top_servers:
        lines = [f"{name} · {_used(usage, None)}" for name, usage in top_servers]
        card.add_field(name="Servers that used most", value="\n".join(lines), inline=False)
    return card


def _used(usage: DayUsage, limit: int | None) -> str:
    most = "" if limit is None else f" of {whole_seconds(limit)}"
    requests = counted(usage.requests, "request")
    return f"{whole_seconds(usage.seconds, rounded=math.ceil)}{most} of speech · {requests}"
