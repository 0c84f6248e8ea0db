"""What is allowed, where, and what happened, as one object over one database."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from bot.guilds.audit import AuditLog
from bot.guilds.ledger import Ledger
from bot.guilds.moderation import Moderation
from bot.guilds.posts import Posts
from bot.guilds.reports import Reports
from bot.guilds.server_settings import SettingsOfServers
from bot.storage.errors import DatabaseFailedError

if TYPE_CHECKING:
    from collections.abc import Collection

    from bot.guilds.access import Action, Actor
    from bot.guilds.moderation import Decisions
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
        self.operators: frozenset[int] = frozenset()
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

    def is_operator(self, user_id: int) -> bool:
        """Whether a person runs the bot."""
        return user_id in self.operators

    async def decisions(self, user_ids: Collection[int], voice_ids: Collection[int]) -> Decisions:
        """Return what counts now about some people and voices. Nobody can block operators."""
        people = [user_id for user_id in user_ids if not self.is_operator(user_id)]
        return await self.moderation.decisions(people, voice_ids)

    async def check_speaking(
        self, user_id: int, voice_id: int | None, guild_id: int | None
    ) -> None:
        """Raise `Refusal` if a person is blocked, or a voice frozen or removed.

        Args:
            user_id: The person.
            voice_id: The voice; None for one that isn't saved.
            guild_id: The server, or None for a direct message.
        """
        voices = () if voice_id is None else (voice_id,)
        refusal = (await self.decisions((user_id,), voices)).refusal(user_id, voice_id, guild_id)
        if refusal is not None:
            raise refusal

    async def check_still(self, user_id: int, voice_id: int | None, guild_id: int | None) -> None:
        """As `check_speaking`, for speech that is made. If the database fails, it is not lost."""
        with suppress(DatabaseFailedError):
            await self.check_speaking(user_id, voice_id, guild_id)

    async def keeps_anything_about(self, user_id: int) -> bool:
        """Return whether `forget` would erase anything."""
        return await self.audit.keeps_anything_about(user_id)

    async def forget(self, user_id: int) -> bool:
        """Erase what this room keeps about a person, once their voices are erased.

        Blocks stay, and so does what moderators decided, until it is old. Returns whether the audit
        log named the person.
        """
        await self.moderation.forget(user_id)
        return await self.audit.forget(user_id)
