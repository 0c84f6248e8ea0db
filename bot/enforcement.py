"""Ends what was allowed when it began: blocks, frozen and deleted voices hold at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bot.errors import Reason, Refusal
from bot.guilds.access import Action
from bot.storage.errors import DatabaseFailedError

if TYPE_CHECKING:
    from bot.guilds.policy import Policy
    from bot.interface.reply import Replies, Reply
    from bot.playback.players import GuildPlayers
    from bot.voices.library import VoiceLibrary

SPEAKING = (Action.SPEAK, Action.CLONE)
"""What is ended when somebody is blocked. Everything else takes a moment."""


class Enforcement:
    """Ends speech of people who were blocked, and of voices that were frozen, removed or deleted.

    It looks into the database, so it finds what another process or the command line decided.

    Args:
        policy: Knows what was decided.
        library: Knows which voices were deleted.
        replies: The commands of this process.
        players: The voice channels of this process.
    """

    def __init__(
        self, policy: Policy, library: VoiceLibrary, replies: Replies, players: GuildPlayers
    ) -> None:
        self._policy = policy
        self._library = library
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
        people = {reply.owner.id for reply in replies} | {entry.owner_id for _, entry in entries}
        voices = {reply.voice_id for reply in replies if reply.voice_id is not None}
        voices |= {entry.voice_id for _, entry in entries}
        try:
            decided = await self._policy.decisions(people, voices)
            deleted = await self._library.deleted_among(voices)
        except DatabaseFailedError:
            return

        def why_not(user_id: int, voice_id: int | None, guild_id: int | None) -> Refusal | None:
            refusal = decided.refusal(user_id, voice_id, guild_id)
            if refusal is None and voice_id in deleted:
                return Refusal(Reason.VOICE_DELETED_MEANWHILE)
            return refusal

        for guild_id, entry in entries:
            refusal = why_not(entry.owner_id, entry.voice_id, guild_id)
            if refusal is not None:
                self._players.of(guild_id).remove(entry, refusal)
        for reply in replies:
            refusal = why_not(reply.owner.id, reply.voice_id, reply.actor.guild_id)
            if refusal is not None:
                self._end(reply, refusal.reason)

    def _end(self, reply: Reply, reason: Reason) -> None:
        self._ending[reply] = ending = asyncio.create_task(reply.cancel(reason, is_forbidden=True))
        ending.add_done_callback(lambda _: self._ending.pop(reply))
