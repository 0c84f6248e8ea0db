"""What is allowed, where, and what happened, as one object over one database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.guilds.audit import AuditLog
from bot.guilds.ledger import Ledger
from bot.guilds.limits import Limits
from bot.guilds.moderation import Moderation
from bot.guilds.reports import Reports
from bot.guilds.server_settings import SettingsOfServers
from bot.guilds.usage import Usage

if TYPE_CHECKING:
    from bot.guilds.access import Action, Actor
    from bot.guilds.ledger import Work
    from bot.guilds.records import WorkKind
    from bot.storage.database import Database


class Policy:
    """Decides what is allowed, and holds what this room keeps; each part is an attribute.

    Args:
        database: Where everything is kept.
        limits: How much may be used.

    Attributes:
        limits: How much may be used, where a server doesn't lower it.
        ledger: What is being used, and counts against the limits.
        usage: What was used.
        settings: What the admins of servers decided.
        moderation: Who is blocked, and which voices are frozen.
        audit: What happened.
        reports: What people reported.
    """

    def __init__(self, database: Database, *, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.ledger = Ledger(database)
        self.usage = Usage(database)
        self.settings = SettingsOfServers(database)
        self.moderation = Moderation(database)
        self.audit = AuditLog(database)
        self.reports = Reports(database)

    async def check(self, actor: Actor, action: Action) -> None:
        """Raise `Refusal` if a person may not do something where they are.

        `Action.OWN` is always allowed: what is one's own can be seen, stopped and deleted anywhere.
        """

    async def begin(self, actor: Actor, kind: WorkKind, seconds: float) -> Work:
        """Begin something that makes speech, if it fits into the limits, see `Ledger.begin`."""
        limits = await self.limits_in(actor.guild_id)
        return await self.ledger.begin(actor, kind, seconds, limits)

    async def enter_channel(self, guild_id: int) -> Work:
        """Begin to be in a voice channel of a server, see `Ledger.enter_channel`."""
        return await self.ledger.enter_channel(guild_id, self.limits)

    async def limits_in(self, guild_id: int | None) -> Limits:
        """Return the limits that hold in a server, or in direct messages."""
        if guild_id is None:
            return self.limits
        return self.limits.lowered_by(await self.settings.of(guild_id))
