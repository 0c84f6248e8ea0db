"""What the chat of a voice channel is told of speech that is heard there and posted nowhere."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import discord
import structlog

from bot.interface.attribution import Attribution
from bot.interface.delivery.answers import DISCORD_FAILURES
from bot.interface.wording.sentences import link_commands
from bot.playback.permissions import VocalChannel
from bot.storage.errors import DatabaseFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bot.guilds.policy import Policy
    from bot.playback.queue import QueueEntry

log = structlog.get_logger(__name__)

ONCE_IN_SECONDS = 3_600.0

MAX_REMEMBERED = 10_000
"""So many people and channels are remembered at most; then the earliest are forgotten."""


class LiveAttributions:
    """Tells a voice channel's chat which voice is heard, that it's synthetic, and who asked.

    It does so once an hour for each person and channel, unless the server has turned that off or
    the bot may not post there. What was said is never part of it.

    Args:
        client: The bot.
        policy: Knows what servers decided, and is told of each message, so that it can be reported.
        command_ids: The ids of the bot's commands, by their names.
        clock: Returns seconds.
    """

    def __init__(
        self,
        client: discord.Client,
        policy: Policy,
        *,
        command_ids: Callable[[], Mapping[str, int]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._policy = policy
        self._command_ids = command_ids
        self._clock = clock
        self._told_at: dict[tuple[int, int], float] = {}  # by channel and person, earliest first
        self._telling: set[asyncio.Task[None]] = set()

    def say(self, entry: QueueEntry) -> None:
        """Tell of speech that is heard, or was just now, unless that was done in the last hour.

        It is done in the background. Nothing waits for it.
        """
        key, now = (entry.channel_id, entry.owner_id), self._clock()
        self._forget_earliest(lambda told_at: now - told_at >= ONCE_IN_SECONDS)
        if key in self._told_at:
            return
        self._forget_earliest(lambda _told_at: len(self._told_at) >= MAX_REMEMBERED)
        self._told_at[key] = now
        task = asyncio.create_task(self._tell(entry))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def close(self) -> None:
        """End what is being told now."""
        for task in self._telling:
            task.cancel()
        if self._telling:
            await asyncio.wait(self._telling)

    def _forget_earliest(self, may_go: Callable[[float], bool]) -> None:
        """Forget what was told first, as long as that may go."""
        while self._told_at:
            earliest, told_at = next(iter(self._told_at.items()))
            if not may_go(told_at):
                return
            del self._told_at[earliest]

    async def _tell(self, entry: QueueEntry) -> None:
        """Post the message. If it can't be posted now, the person's next speech tries again.

        If Discord has refused it, that waits for an hour, since Discord counts such requests.
        """
        reason: object
        try:
            reason = await self._why_not_posted(entry)
        except discord.Forbidden as error:
            log.debug("a voice channel was not told who asked", reason=repr(error))
            return
        except (DatabaseFailedError, *DISCORD_FAILURES) as error:
            reason = repr(error)
        except Exception:
            log.exception("a voice channel was not told who asked", channel=entry.channel_id)
            return
        if reason is not None:
            log.debug("a voice channel was not told who asked", reason=reason)
            self._told_at.pop((entry.channel_id, entry.owner_id), None)

    async def _why_not_posted(self, entry: QueueEntry) -> str | None:
        """Post the message, or return why not."""
        channel = self._client.get_channel(entry.channel_id)
        if not isinstance(channel, VocalChannel) or channel.guild.unavailable:
            return "the channel is not known"
        mine = channel.permissions_for(channel.guild.me)
        if not (mine.view_channel and mine.send_messages):
            return "the bot may not post there"
        if not (await self._policy.settings.of(channel.guild.id)).live_attribution:
            return "the server has turned it off"
        who = Attribution(entry.speaker, entry.owner_id, entry.message, entry.voice_owner_id)
        message = await channel.send(
            words(who, self._command_ids()),
            silent=True,
            suppress_embeds=True,
            allowed_mentions=discord.AllowedMentions.none(),
        )
        self._policy.posts.note(
            message.id,
            channel.id,
            channel.guild.id,
            voice_id=entry.voice_id,
            owner_id=entry.voice_owner_id,
            asker_id=entry.owner_id,
        )
        return None


def words(attribution: Attribution, command_ids: Mapping[str, int]) -> str:
    """What the chat is told. For the next hour it holds for all of that person's voices."""
    told = f"-# {attribution} is heard here. `/queue` shows who asked for what I say."
    return link_commands(told, command_ids)
