"""Ends what was allowed when it began: blocks, and what becomes of a voice, hold at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bot.errors import Reason, Refusal
from bot.guilds.access import Action, Actor
from bot.interface.actors import roles_of
from bot.storage.errors import DatabaseFailedError

if TYPE_CHECKING:
    from bot.interface.reply import Replies, Reply
    from bot.playback.players import GuildPlayers
    from bot.playback.queue import QueueEntry
    from bot.voice_access import VoiceAccess

SPEAKING = (Action.SPEAK, Action.CLONE)
"""What is ended when somebody is blocked. Everything else takes a moment."""

_MEANWHILE = {
    Reason.VOICE_DELETED: Reason.VOICE_DELETED_MEANWHILE,
    Reason.VOICE_NOT_SHARED: Reason.VOICE_UNSHARED_MEANWHILE,
}


class Enforcement:
    """Ends speech of people who may not speak any more, or not with that voice.

    They were blocked; or the voice was frozen, removed or deleted, or isn't shared with them.

    It looks into the database, so it finds what another process or the command line decided.

    Args:
        access: Knows who may use which voice.
        replies: The commands of this process.
        players: The voice channels of this process.
    """

    def __init__(self, access: VoiceAccess, replies: Replies, players: GuildPlayers) -> None:
        self._access = access
        self._replies = replies
        self._players = players
        self._ending: dict[Reply, asyncio.Task[None]] = {}

    async def enforce(self) -> None:
        """End what runs or waits in this process and is not allowed any more. People are told why.

        If the database can't be read now, nothing ends.
        """
        replies = [
            reply
            for reply in self._replies.open
            if reply.action in SPEAKING and reply not in self._ending
        ]
        entries = self._players.entries()
        if not replies and not entries:
            return
        uses: list[tuple[Actor, int | None]] = [(reply.actor, reply.voice_id) for reply in replies]
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
            if refusal is not None and refusal.reason is not Reason.SERVER_NOT_SEEN:
                self._players.of(guild_id).remove(entry, _said_meanwhile(refusal))
        for reply, use in zip(replies, uses, strict=True):
            refusal = standing.refusal(*use)
            if refusal is not None and refusal.reason is not Reason.SERVER_NOT_SEEN:
                self._end(reply, _said_meanwhile(refusal).reason)

    def _end(self, reply: Reply, reason: Reason) -> None:
        self._ending[reply] = ending = asyncio.create_task(reply.cancel(reason, is_forbidden=True))
        ending.add_done_callback(lambda _: self._ending.pop(reply))


def _actor_of(guild_id: int, entry: QueueEntry) -> Actor:
    """Whoever has requested speech, with the roles that Discord has shown last."""
    roles = None if entry.owner is None else roles_of(entry.owner)
    return Actor(entry.owner_id, guild_id, entry.channel_id, roles)


def _said_meanwhile(refusal: Refusal) -> Refusal:
    """What is said about a voice whose speech has begun or waits."""
    return Refusal(_MEANWHILE[refusal.reason]) if refusal.reason in _MEANWHILE else refusal
