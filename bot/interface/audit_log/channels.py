"""The audit log in the channels that servers chose for it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import discord
import structlog

from bot.interface.audit_log.lines import audit_line
from bot.interface.delivery.answers import DISCORD_FAILURES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bot.guilds.policy import Policy
    from bot.guilds.records import AuditEntry

MAX_CHARACTERS = 2_000
"""Of a Discord message."""

MAX_READ = 1_000
OVERLAP = 200
"""So many of the ids before the last one are read again: an entry of another process may get its id
before others do, and be written after them."""

_MORE = "…and {count} more. `/moderation log` shows them all."

log = structlog.get_logger(__name__)


class AuditChannels:
    """Posts what is new in the audit log, one message at a time for each server.

    Args:
        client: The bot. It posts for the servers that it is connected to.
        policy: Has the log, and the channels that servers chose.
    """

    def __init__(self, client: discord.Client, policy: Policy) -> None:
        self._client = client
        self._policy = policy
        self._last_id: int | None = None
        self._seen: set[int] = set()

    async def post_new(self) -> None:
        """Post the lines that were written since the last call; the first call posts none."""
        by_guild: dict[int, list[AuditEntry]] = defaultdict(list)
        for entry in await self._new_entries():
            if entry.guild_id is not None:
                by_guild[entry.guild_id].append(entry)
        for guild_id, entries in by_guild.items():
            guild = self._client.get_guild(guild_id)
            if guild is not None:
                await self._post(guild, entries)

    async def _new_entries(self) -> list[AuditEntry]:
        is_first = self._last_id is None
        last_id = await self._policy.audit.last_id() if self._last_id is None else self._last_id
        read = await self._policy.audit.after(max(0, last_id - OVERLAP), limit=MAX_READ)
        new = [] if is_first else [entry for entry in read if entry.id not in self._seen]
        self._last_id = max([last_id, *(entry.id for entry in read)])
        oldest = self._last_id - OVERLAP
        self._seen = {each for each in (*self._seen, *(e.id for e in read)) if each > oldest}
        return new

    async def _post(self, guild: discord.Guild, entries: Sequence[AuditEntry]) -> None:
        """Post a server's new lines. What Discord would refuse is not tried."""
        channel_id = (await self._policy.settings.of(guild.id)).audit_channel_id
        channel = guild.get_channel_or_thread(channel_id) if channel_id is not None else None
        if not isinstance(channel, discord.abc.Messageable):
            return
        allowed = channel.permissions_for(guild.me)
        if not (allowed.view_channel and allowed.send_messages):
            return
        try:
            await channel.send(
                _message(entries), allowed_mentions=discord.AllowedMentions.none(), silent=True
            )
        except DISCORD_FAILURES as error:
            log.warning("audit log not posted", guild=guild.id, reason=repr(error))


def _message(entries: Sequence[AuditEntry]) -> str:
    """As many lines as fit into a message, and how many more there are."""
    lines: list[str] = []
    room = MAX_CHARACTERS - len(_MORE) - len(str(len(entries)))
    for entry in entries:
        line = audit_line(entry)
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
    left_out = len(entries) - len(lines)
    return "\n".join([*lines, *([_MORE.format(count=left_out)] if left_out else [])])
