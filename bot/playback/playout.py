"""Plays one source to its end, and goes on with it whenever the connection was interrupted."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import discord
import structlog

from bot.playback.heard import HeardRecord
from bot.playback.source import BYTES_PER_SECOND
from bot.playback.waiting import is_set

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.playback.connection import Connection
    from bot.playback.pacing import Pacing
    from bot.playback.source import SpeechSource
    from bot.playback.voice_link import VoiceLink

log = structlog.get_logger(__name__)

CHECK_SECONDS = 0.1

LOSS_WORTH_REPEATING_SECONDS = 0.25
"""If less than this was lost at the end of the speech, it is not repeated."""

PROGRESS_SECONDS = 0.25
"""A try that played no more than this counts as futile."""

MAX_FUTILE_TRIES = 4
"""After this many futile tries in a row, the bot leaves the channel."""


async def play_out(
    source: SpeechSource,
    connection: Connection,
    *,
    is_over: Callable[[], bool],
    pacing: Pacing | None = None,
) -> bool:
    """Play a source until it is drained; return whether all of it was heard, as far as is known.

    Args:
        source: What to play.
        connection: Where to play it.
        is_over: Asked whenever there is a link to play on: whether nothing may be played any more.
        pacing: What holds the source back, if anything does. Nothing is sent while it begins late.

    Raises `Refusal` if the bot was disconnected, or could not join again.
    """
    playout = _Playout(source, connection, pacing)
    futile_tries = 0
    while not source.drained:
        if playout.begins_late():
            await asyncio.sleep(CHECK_SECONDS)
            continue
        if futile_tries == MAX_FUTILE_TRIES:
            raise await connection.give_up()
        link = await connection.working_link()
        if is_over():  # the bot may be in another channel by now
            break
        if not connection.is_audible:
            await connection.until_audible(unless=lambda: source.drained)
            continue  # the connection may have been lost in the meantime
        if await playout.joins_again(link):
            continue
        began_at = source.position
        await playout.play_over(link)
        if playout.begins_late():
            continue
        if (source.position - began_at) / BYTES_PER_SECOND > PROGRESS_SECONDS:
            futile_tries = 0
        else:
            futile_tries += 1
    return playout.is_complete


class _Playout:
    """Plays one source over one connection after another.

    Ten times a second it notes the position, as long as the connection works. When it no longer
    does, the source goes back to the last note, or to what is known to have arrived.

    Attributes:
        is_complete: All that was played has been heard, as far as is known.
    """

    def __init__(self, source: SpeechSource, connection: Connection, pacing: Pacing | None) -> None:
        self.is_complete = True
        self._may_join_again = True
        self._source = source
        self._connection = connection
        self._pacing = pacing

    def begins_late(self) -> bool:
        """Whether it takes a while until there is anything to send."""
        return self._pacing is not None and self._pacing.begins_late

    async def joins_again(self, link: VoiceLink) -> bool:
        """Make a new connection if the server no longer answers pings; return whether it was so.

        That happens once for each source, because such a server may hear the bot all the same.
        """
        if not self._should_join_again(link):
            return False
        self._may_join_again = False
        log.info("the voice server no longer answers pings")
        await self._connection.join_again()
        return True

    async def play_over(self, link: VoiceLink) -> None:
        """Play until the source is drained, begins late or the connection is interrupted."""
        self._source.start()
        record = HeardRecord()
        record.note(time.perf_counter(), self._source.position)
        try:
            ended = link.play(self._source)
        except discord.ClientException as error:  # the connection was lost just now
            log.debug("could not begin to play", reason=repr(error))
            return
        try:
            while not await is_set(ended, within=CHECK_SECONDS):
                if self.begins_late():
                    return
                if not self._is_heard_over(link) or self._should_join_again(link):
                    break
                self.is_complete &= not link.is_doubtful
                record.note(time.perf_counter(), self._source.position)
            is_sure = not self._source.drained or await link.until_answered(
                unless=lambda: not self._is_heard_over(link)
            )
            if (
                not self._source.drained
                or not self._is_heard_over(link)
                or self._should_join_again(link)
            ):
                self._go_back(record, link.proven_until)
            elif link.is_out_of_reach or not is_sure:
                self.is_complete = False
        finally:
            link.stop()

    def _is_heard_over(self, link: VoiceLink) -> bool:
        """Whether speech arrives and is understood, as far as Discord tells."""
        return (
            self._connection.is_well
            and self._connection.is_audible
            and link.is_understood
            and not link.has_moved
            and not link.is_stuck
        )

    def _should_join_again(self, link: VoiceLink) -> bool:
        return self._may_join_again and link.is_out_of_reach

    def _go_back(self, record: HeardRecord, proven_until: float | None) -> None:
        """Go back to what was heard."""
        restart = record.restart(proven_until)
        self.is_complete &= restart.is_complete
        seconds = (self._source.position - restart.position) / BYTES_PER_SECOND
        if self._source.drained and seconds < LOSS_WORTH_REPEATING_SECONDS:
            return
        log.info("speech was interrupted", seconds_to_repeat=round(seconds, 2))
        self._source.pause()
        self._source.rewind(restart.position)
