"""What is allowed, where, and what happened, as one object over one database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.guilds.audit import AuditLog
from bot.guilds.ledger import Ledger
from bot.guilds.moderation import Moderation
from bot.guilds.posts import Posts
from bot.guilds.reports import Reports
from bot.guilds.server_settings import SettingsOfServers

if TYPE_CHECKING:
    from bot.guilds.access import Action, Actor
    from bot.storage.database import Database


class Policy:
    """Decides what is allowed, and holds what this room keeps; each part is an attribute.

    Attributes:
        ledger: What was used and is being used.
        settings: What the admins of servers decided.
        moderation: Who is blocked, and which voices are frozen.
        audit: What happened.
        posts: Which message holds whose speech.
        reports: What people reported.
    """

    def __init__(self, database: Database) -> None:
        self.ledger = Ledger(database)
        self.settings = SettingsOfServers(database)
        self.moderation = Moderation(database)
        self.audit = AuditLog(database)
        self.posts = Posts(database)
        self.reports = Reports(database)

    async def check(self, actor: Actor, action: Action) -> None:
        """Raise `Refusal` if a person may not do something where they are.

        `Action.OWN` is always allowed: what is one's own can be seen, stopped and deleted anywhere.
        """

    async def keeps_anything_about(self, user_id: int) -> bool:
        """Return whether `forget` would erase anything."""
        return await self.audit.keeps_anything_about(user_id)

    async def forget(self, user_id: int) -> None:
        """Erase what this room keeps about a person, once their voices are erased.

        Blocks stay, and so does what moderators decided, until it is old.
        """
        await self.audit.forget(user_id)
        await self.moderation.forget(user_id)
