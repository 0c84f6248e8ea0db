"""Plays one source to its end, and reconnects whenever a voice link breaks."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import discord
import structlog

from bot.playback.source import BYTES_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.playback.connection import Connection
    from bot.playback.source import SpeechSource
    from bot.playback.voice_link import Trouble, VoiceLink

log = structlog.get_logger(__name__)

CHECK_SECONDS = 0.1
REMEMBERED_CHECKS = 120

LOSS_WORTH_REPEATING_SECONDS = 0.25
"""If less than this was lost at the end of the speech, it is not repeated."""

PROGRESS_SECONDS = 0.25
"""A link that played no more than this counts as futile, because maybe none of it arrived."""

MAX_FUTILE_TRIES = 4
"""After this many futile links in a row, the bot leaves the channel."""


async def play_out(
    source: SpeechSource, connection: Connection, *, is_over: Callable[[], bool]
) -> None:
    """Play a source until it is drained. When a link breaks, repeat the speech that was lost.

    Args:
        source: What to play.
        connection: Where to play it.
        is_over: Asked whenever there is a link to play on: whether nothing may be played any more.

    Raises `Refusal` if the bot was disconnected, or reconnecting failed.
    """
    futile_tries = 0
    while not source.drained:
        if futile_tries == MAX_FUTILE_TRIES:
            raise await connection.give_up()
        link = await connection.working_link()
        if is_over():  # the bot may be in another channel by now
            return
        if not connection.is_audible:
            await connection.until_audible(unless=lambda: source.drained)
            continue  # the link may have broken in the meantime
        source.resume()
        began_at = source.position
        futile_tries += 1
        try:
            ended = link.play(source)
        except discord.ClientException as error:  # the link broke after `working_link`
            log.debug("could not begin to play", reason=repr(error))
            continue
        try:
            await _Monitor(source, link, connection, ended).until_over()
        finally:
            link.stop()
        if (source.position - began_at) / BYTES_PER_SECOND > PROGRESS_SECONDS:
            futile_tries = 0


class _Monitor:
    """Checks a link ten times a second while it plays a source.

    Each check without trouble records the time and the source's position. When there is trouble,
    the source is rewound to its position at the last of these checks. If speech is known to have
    arrived only up to an earlier time, it is rewound to that.
    """

    def __init__(
        self, source: SpeechSource, link: VoiceLink, connection: Connection, ended: asyncio.Event
    ) -> None:
        self._source = source
        self._link = link
        self._connection = connection
        self._ended = ended
        self._checks: deque[tuple[float, int]] = deque(maxlen=REMEMBERED_CHECKS)
        self._record()

    async def until_over(self) -> None:
        """Wait until the player ends or the link has trouble. Then rewind if speech was lost."""
        trouble: Trouble | None = None
        while not await self._player_ends(within=CHECK_SECONDS):
            trouble = self._link.trouble()
            if trouble is not None or self._link.was_interrupted or not self._connection.is_audible:
                break
            self._record()
        if self._ended.is_set():
            trouble = await self._trouble_at_the_end()
            if trouble is None and self._source.drained and not self._link.was_interrupted:
                return
        since = trouble.since if trouble is not None else None
        bounds = (self._checks[-1][0], since, self._link.arrived_until)
        self._rewind_to(min(moment for moment in bounds if moment is not None))

    def _record(self) -> None:
        self._checks.append((time.perf_counter(), self._source.position))

    async def _trouble_at_the_end(self) -> Trouble | None:
        """Return the trouble because of which the last seconds were lost, if there was any."""
        trouble = self._link.trouble()
        if trouble is None and self._source.drained and not await self._link.answers():
            trouble = self._link.trouble()
        return trouble

    def _rewind_to(self, moment: float) -> None:
        """Pause the source, and rewind it to its position at a moment."""
        index = max(0, bisect_right(self._checks, moment, key=lambda check: check[0]) - 1)
        position = self._checks[index][1]
        lost = (self._source.position - position) / BYTES_PER_SECOND
        if self._source.drained and lost < LOSS_WORTH_REPEATING_SECONDS:
            return
        log.info("speech was interrupted", seconds_to_repeat=round(lost, 2))
        self._source.pause()
        self._source.rewind(position)

    async def _player_ends(self, *, within: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._ended.wait()
        return self._ended.is_set()
