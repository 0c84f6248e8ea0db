"""One piece of speech, played to its end over as many voice connections as that takes."""

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
    from bot.playback.connection import Connection
    from bot.playback.source import SpeechSource
    from bot.playback.voice_link import Line, Trouble

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.1
REMEMBERED_LOOKS = 120

LOSS_WORTH_REPEATING_SECONDS = 0.25
"""If less than this was lost at the very end, nobody is kept waiting for it."""

PROGRESS_SECONDS = 0.25
"""A line by which less was heard got nothing through: before the first look nothing is known."""

MAX_FUTILE_TRIES = 4
"""If nothing is heard by this many lines in a row, the connection is given up."""


async def perform(source: SpeechSource, connection: Connection) -> None:
    """Play a source until it is drained, and go back to where it was heard after each drop.

    Raises `Refusal` if the bot was disconnected, or the connection cannot be mended.
    """
    futile_tries = 0
    while not source.drained:
        if futile_tries == MAX_FUTILE_TRIES:
            raise await connection.give_up()
        line = await connection.line()
        if not connection.is_audible:
            await connection.until_audible(unless=lambda: source.drained)
            continue  # the line may have broken meanwhile
        source.go_on()
        began_at = source.position
        futile_tries += 1
        try:
            ended = line.play(source)
        except discord.ClientException as error:  # the connection broke this very moment
            log.debug("could not begin to play", reason=repr(error))
            continue
        watch = _Watch(source, line, connection, ended)
        try:
            await watch.until_over()
        finally:
            line.stop()
        if (source.position - began_at) / BYTES_PER_SECOND > PROGRESS_SECONDS:
            futile_tries = 0


class _Watch:
    """Looks at a line ten times a second while speech goes through it.

    Each look remembers how far the speech had come. When trouble shows, the source goes back to
    where it was when all was well for the last time, or to what is known to have arrived.
    """

    def __init__(
        self, source: SpeechSource, line: Line, connection: Connection, ended: asyncio.Event
    ) -> None:
        self._source = source
        self._line = line
        self._connection = connection
        self._ended = ended
        self._times: deque[float] = deque([time.perf_counter()], maxlen=REMEMBERED_LOOKS)
        self._positions: deque[int] = deque([source.position], maxlen=REMEMBERED_LOOKS)

    async def until_over(self) -> None:
        """Return when the player has ended, or speech does not get through any more."""
        trouble: Trouble | None = None
        while not await self._player_ends(within=LOOK_SECONDS):
            trouble = self._line.trouble()
            if trouble is not None or self._line.was_interrupted or not self._connection.is_audible:
                break
            self._times.append(time.perf_counter())
            self._positions.append(self._source.position)
        if self._ended.is_set():
            trouble = await self._trouble_at_the_end()
            if trouble is None and self._source.drained and not self._line.was_interrupted:
                return
        since = trouble.since if trouble is not None else None
        bounds = (self._times[-1], since, self._line.known_until)
        self._go_back(min(moment for moment in bounds if moment is not None))

    async def _trouble_at_the_end(self) -> Trouble | None:
        """What kept the last seconds from being heard, if anything did."""
        trouble = self._line.trouble()
        if trouble is None and self._source.drained and not await self._line.is_answered():
            trouble = self._line.trouble()
        return trouble

    def _go_back(self, moment: float) -> None:
        """Go back to what was heard at a moment, and hold the source there."""
        place = max(0, bisect_right(self._times, moment) - 1)
        position = self._positions[place]
        lost = (self._source.position - position) / BYTES_PER_SECOND
        if self._source.drained and lost < LOSS_WORTH_REPEATING_SECONDS:
            return
        log.info("speech was interrupted", seconds_to_repeat=round(lost, 2))
        self._source.hold()
        self._source.go_back(position)

    async def _player_ends(self, *, within: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._ended.wait()
        return self._ended.is_set()
