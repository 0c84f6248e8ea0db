"""Ends what was allowed when it began: blocks, and what becomes of a voice, hold at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from bot.errors import Reason, Refusal
from bot.guilds.access import Action, Actor
from bot.interface.actors import roles_of
from bot.storage.errors import DatabaseFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bot.playback.players import GuildPlayers
    from bot.playback.queue import QueueEntry
    from bot.voice_access import VoiceAccess

SPEAKING = (Action.SPEAK, Action.CLONE)
"""What is ended when somebody is blocked. Everything else takes a moment."""

SECONDS_TO_END_CLONING = 10.0
"""After this, who has everything deleted doesn't wait any longer for a command that hangs."""

_MEANWHILE = {
    Reason.VOICE_DELETED: Reason.VOICE_DELETED_MEANWHILE,
    Reason.VOICE_NOT_SHARED: Reason.VOICE_UNSHARED_MEANWHILE,
}


class OpenRequest(Protocol):
    """Something that was asked for and has not ended: a slash command, or a request to the API."""

    @property
    def action(self) -> Action:
        """What the person wants to do."""

    @property
    def actor(self) -> Actor:
        """Who asked, and where."""

    @property
    def voice_id(self) -> int | None:
        """The saved voice that speaks, or None."""

    async def cancel(self, reason: Reason, *, is_forbidden: bool = False) -> None:
        """End it, tell the person why, and return when they know."""
        ...


class Enforcement:
    """Ends speech of people who may not speak any more, or not with that voice.

    They were blocked; or the voice was frozen, removed or deleted, or isn't shared with them.

    It looks into the database, so it finds what another process or the command line decided.

    Args:
        access: Knows who may use which voice.
        open_requests: Returns what is open in one front of this process.
        players: The voice channels of this process; None if it has none.
    """

    def __init__(
        self,
        access: VoiceAccess,
        open_requests: Callable[[], Iterable[OpenRequest]],
        players: GuildPlayers | None = None,
    ) -> None:
        self._access = access
        self._open_requests = open_requests
        self._players = players
        self._ending: dict[OpenRequest, asyncio.Task[None]] = {}

    async def enforce(self) -> None:
        """End what runs or waits in this process and is not allowed any more. People are told why.

        If the database can't be read now, nothing ends.
        """
        requests = [
            request
            for request in self._open_requests()
            if request.action in SPEAKING and request not in self._ending
        ]
        entries = self._players.entries() if self._players is not None else []
        if not requests and not entries:
            return
        uses: list[tuple[Actor, int | None]] = [
            (request.actor, request.voice_id) for request in requests
        ]
        queued: list[tuple[Actor, int | None]] = [
            (_actor_of(guild_id, entry), entry.voice_id) for guild_id, entry in entries
        ]
        people = {actor.user_id for actor, _ in (*uses, *queued)}
        voices = {voice_id for _, voice_id in (*uses, *queued) if voice_id is not None}
        try:
            standing = await self._access.standing(people, voices)
        except DatabaseFailedError:
            return
        for (guild_id, entry), use in zip(entries, queued, strict=True):
            refusal = standing.refusal(*use)
            if refusal is None or refusal.reason is Reason.SERVER_NOT_SEEN:
                continue
            if self._players is not None:
                self._players.of(guild_id).remove(entry, _said_meanwhile(refusal))
        for request, use in zip(requests, uses, strict=True):
            refusal = standing.refusal(*use)
            if refusal is not None and refusal.reason is not Reason.SERVER_NOT_SEEN:
                self._end(request, _said_meanwhile(refusal).reason)

    async def end_cloning_of(self, user_id: int) -> None:
        """End what makes voices of a person who has everything deleted; return when it has ended.

        Or it would keep a voice afterwards. In another front or process it goes on.
        """
        endings = [
            asyncio.create_task(request.cancel(Reason.ALL_DELETED_MEANWHILE, is_forbidden=True))
            for request in self._open_requests()
            if request.action is Action.CLONE and request.actor.user_id == user_id
        ]
        if endings:
            await asyncio.wait(endings, timeout=SECONDS_TO_END_CLONING)

    def _end(self, request: OpenRequest, reason: Reason) -> None:
        ending = asyncio.create_task(request.cancel(reason, is_forbidden=True))
        self._ending[request] = ending
        ending.add_done_callback(lambda _: self._ending.pop(request))


def _actor_of(guild_id: int, entry: QueueEntry) -> Actor:
    """Whoever has requested speech, with the roles that Discord has shown last."""
    roles = None if entry.owner is None else roles_of(entry.owner)
    return Actor(entry.owner_id, guild_id, entry.channel_id, roles)


def _said_meanwhile(refusal: Refusal) -> Refusal:
    """What is said about a voice whose speech has begun or waits."""
    return Refusal(_MEANWHILE[refusal.reason]) if refusal.reason in _MEANWHILE else refusal
