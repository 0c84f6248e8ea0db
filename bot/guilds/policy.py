"""What is allowed, where, and what happened, as one object over one database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.errors import Reason, Refusal
from bot.guilds.access import Action, OperatorRules
from bot.guilds.api_keys import ApiKeys
from bot.guilds.audit import AuditLog
from bot.guilds.ledger import Ledger
from bot.guilds.limits import Limits
from bot.guilds.moderation import Moderation
from bot.guilds.posts import Posts
from bot.guilds.records import EVERYWHERE, ForgottenUse
from bot.guilds.reports import Reports
from bot.guilds.server_settings import SettingsOfServers
from bot.guilds.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from bot.guilds.access import Actor
    from bot.guilds.ledger import Work
    from bot.guilds.moderation import Decisions
    from bot.guilds.records import WorkKind
    from bot.storage.database import Database


class Policy:
    """Decides what is allowed, and holds what this room keeps; each part is an attribute.

    Args:
        database: Where everything is kept.
        rules: What the operator decided about who may use the bot; by default everybody may.
        limits: How much the operator lets people use.

    Attributes:
        rules: What the operator decided about who may use the bot.
        limits: How much the operator lets people use. A server's own limits can only be lower.
        ledger: What is being used, and counts against the limits.
        usage: What was used.
        settings: What the admins of servers decided.
        moderation: Who is blocked, and which voices are frozen.
        audit: What happened.
        posts: Which message holds whose speech.
        reports: What people reported.
        api_keys: The keys with which people use the HTTP API.
    """

    def __init__(
        self,
        database: Database,
        rules: OperatorRules | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._database = database
        self.rules = rules or OperatorRules()
        self.limits = limits or Limits()
        self.ledger = Ledger(database)
        self.usage = Usage(database)
        self.settings = SettingsOfServers(database)
        self.moderation = Moderation(database)
        self.audit = AuditLog(database)
        self.posts = Posts(database)
        self.reports = Reports(database)
        self.api_keys = ApiKeys(database)

    def is_operator(self, user_id: int) -> bool:
        """Whether a person runs the bot."""
        return user_id in self.rules.operators

    async def check(self, actor: Actor, action: Action) -> None:
        """Raise `Refusal` if a person may not do something where they are.

        `Action.OWN` is always allowed: what is one's own can be seen, stopped and deleted anywhere.
        Operators pass whatever blocks, roles and channels forbid. Members with Manage Server pass
        what roles forbid, since they decide about them.
        """
        if action is Action.OWN:
            return
        if actor.guild_id is not None and not self.rules.allows_server(actor.guild_id):
            raise Refusal(Reason.SERVER_NOT_ALLOWED)
        if not self.is_operator(actor.user_id):
            self._check_direct_message(actor, action)
            await self._check_not_blocked(actor)
            if action in {Action.SPEAK, Action.CLONE} and actor.guild_id is not None:
                await self._check_settings(actor, action, actor.guild_id)
        if action is Action.MANAGE:
            _check_manages(actor)
        elif action is Action.OPERATE:
            self._check_operates(actor)

    async def channels_to_speak_in(self, actor: Actor) -> frozenset[int]:
        """Return the voice channels in which the bot may speak for a person; empty for all."""
        if actor.guild_id is None or self.is_operator(actor.user_id):
            return frozenset()
        return (await self.settings.of(actor.guild_id)).voice_channels

    def _check_direct_message(self, actor: Actor, action: Action) -> None:
        """Speech can be reported by direct message in any case."""
        is_open = self.rules.direct_messages or actor.uses_api or action is Action.REPORT
        if actor.guild_id is None and not is_open:
            raise Refusal(Reason.NO_DIRECT_MESSAGES)

    async def _check_not_blocked(self, actor: Actor) -> None:
        where = await self.moderation.is_blocked(actor.user_id, actor.guild_id)
        if where is not None:
            is_everywhere = where == EVERYWHERE
            raise Refusal(Reason.BLOCKED_EVERYWHERE if is_everywhere else Reason.BLOCKED_HERE)

    async def _check_settings(self, actor: Actor, action: Action, guild_id: int) -> None:
        """Check what the server's admins decided about speech. Cloning speaks as well."""
        settings = await self.settings.of(guild_id)
        # Whoever is in a voice channel where the bot may speak may also type the command there.
        is_here = actor.channel_id in settings.channels | settings.voice_channels
        if settings.channels and not is_here:
            raise Refusal(Reason.NOT_IN_THIS_CHANNEL, channels=_listed(settings.channels))
        if actor.is_manager:
            return
        if not _has_one_of(settings.speak_roles, actor):
            raise Refusal(Reason.ROLE_NEEDED_TO_SPEAK, roles=_listed(settings.speak_roles))
        if action is Action.CLONE and not _has_one_of(settings.clone_roles, actor):
            raise Refusal(Reason.ROLE_NEEDED_TO_CLONE, roles=_listed(settings.clone_roles))

    def _check_operates(self, actor: Actor) -> None:
        if self.is_operator(actor.user_id):
            return
        if actor.guild_id not in self.rules.warm_servers:
            raise Refusal(Reason.ONLY_OPERATORS)
        _check_manages(actor)

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

    async def may_replace_recording(self, voice_id: int) -> bool:
        """Return whether a voice may get another recording.

        It may not while it is frozen, removed or claimed anywhere: that is about the recording that
        it has. A report alone doesn't count, or any member could keep a voice as it is. Reports
        show whether the recording was replaced since.
        """
        if await self.moderation.freezes_among((voice_id,)):
            return False
        return not await self.reports.is_claimed(voice_id)

    async def asks_for_spoken_consent(self, guild_id: int | None) -> bool:
        """Return whether a server only takes voices whose speaker says that they allow it."""
        return guild_id is not None and (await self.settings.of(guild_id)).spoken_consent

    async def decisions(self, user_ids: Collection[int], voice_ids: Collection[int]) -> Decisions:
        """Return what counts now about some people and voices. Nobody can block operators."""
        people = [user_id for user_id in user_ids if not self.is_operator(user_id)]
        return await self.moderation.decisions(people, voice_ids)

    def drop_before(self, at: datetime) -> None:
        """Forget what happened before that time, as far as it is kept for a while only."""
        self.audit.drop_before(at)
        self.posts.drop_before(at)
        self.reports.drop_before(at)

    async def keeps_anything_about(self, user_id: int) -> bool:
        """Return whether `forget` would erase anything."""
        parts = (self.audit, self.posts, self.usage, self.api_keys)
        return any([await part.keeps_anything_about(user_id) for part in parts])

    async def forget(self, user_id: int) -> ForgottenUse:
        """Erase what this room keeps about a person, once their voices are erased.

        Blocks stay, and so do reports and what moderators decided, until that is old. What was used
        today stays because of the limits.
        """
        await self.moderation.forget(user_id)
        parts = (self.posts, self.usage, self.audit, self.api_keys)
        had_any = any([await part.forget(user_id) for part in parts])
        return ForgottenUse(had_any=had_any, is_complete=await self._database.erase_remains())


def _check_manages(actor: Actor) -> None:
    if actor.guild_id is None:
        raise Refusal(Reason.ONLY_IN_SERVERS)
    if not actor.is_manager:
        raise Refusal(Reason.ONLY_MANAGERS)


def _has_one_of(roles: frozenset[int], actor: Actor) -> bool:
    """Whether a member has one of the roles that a rule names, if it names any."""
    if not roles:
        return True
    if actor.role_ids is None:
        raise Refusal(Reason.SERVER_NOT_SEEN)
    return bool(roles & actor.role_ids)


def _listed(ids: frozenset[int]) -> str:
    """Ids as one value of a refusal."""
    return " ".join(str(each) for each in sorted(ids))
