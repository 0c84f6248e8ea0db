"""How discord.py connects to a voice channel and leaves it, with what it leaves undone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import discord
import structlog

from bot.playback.stage import FAILURES

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.playback.permissions import VocalChannel
    from bot.playback.voice_link import VoiceConnection

log = structlog.get_logger(__name__)

CONNECT_SECONDS = 6.0
"""What discord.py may take for each part of a handshake; it may take twice as long in all."""

LEAVE_SECONDS = 2.0


async def connect(channel: VocalChannel, voice_class: Callable[..., Any]) -> VoiceConnection:
    """Connect to a channel, in one try. Raises one of `stage.FAILURES`.

    When Discord moves the call or the bot meanwhile, discord.py begins anew in a task of its own,
    and cancels the one that is waited for here. That second try loses its socket to the first one's
    clearing up (discord.py 2.7.1, `voice_state.py`), so it counts as a failure.
    """
    try:
        voice: VoiceConnection = await channel.connect(
            timeout=CONNECT_SECONDS, reconnect=False, self_deaf=True, cls=voice_class
        )
    except asyncio.CancelledError:
        here = asyncio.current_task()
        if here is None or here.cancelling():
            raise
        raise discord.ClientException("the call was moved during the handshake") from None
    if isinstance(voice, discord.VoiceClient):
        _take_note_of(voice._connection._runner)  # noqa: SLF001 - no public way
    return voice


async def disconnect(voice: Any) -> None:
    """Leave the channel, and wait until Discord shows it."""
    try:
        async with asyncio.timeout(LEAVE_SECONDS):
            await voice.disconnect(force=True)
    except FAILURES as error:
        log.debug("voice connection not ended in order", reason=repr(error))
        voice.cleanup()


def abandon(voice: object) -> None:
    """End the task in which discord.py connects anew after a move, if there is one.

    Nobody awaits that task. Left alone, it would leave the channel when it gives up, whatever other
    connection there is by then.
    """
    if not isinstance(voice, discord.VoiceClient):
        return
    connector = voice._connection._connector  # noqa: SLF001 - no public way
    if connector is not None:
        connector.cancel()
    _take_note_of(connector)


def _take_note_of(task: asyncio.Task[None] | None) -> None:
    """Look at how a task of discord.py's ends that it leaves to nobody, lest asyncio complain."""

    def look(ended: asyncio.Task[None]) -> None:
        if not ended.cancelled():
            ended.exception()

    if task is not None:
        task.add_done_callback(look)
