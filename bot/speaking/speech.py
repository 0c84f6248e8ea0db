"""The speech of one request: for a file, for a voice channel, or for both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord

from bot.interface.options import caller_of
from bot.playback.queue import QueueEntry
from bot.streaming import SharedStream, collect, leveled
from bot.text import expected_seconds

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from bot.guilds.ledger import Work
    from bot.speaking.script import Script
    from bot.streaming import Speech, SpeechChunk
    from bot.studio import Studio


class RequestedSpeech:
    """The speech of one request, for a file, a voice channel, or both.

    Args:
        script: What is said.
        studio: The voice pipeline.
        work: What it counts for.
        interaction: The command.
    """

    def __init__(
        self,
        script: Script,
        studio: Studio,
        work: Work,
        interaction: discord.Interaction[Any],
    ) -> None:
        self._script = script
        self._studio = studio
        self._owner = interaction.user
        self._caller = caller_of(interaction)
        self._production = studio.production(script.sentences, on_speech=work.made)
        self._shared: SharedStream | None = None

    @property
    def is_shared(self) -> bool:
        """Whether a file and a voice channel get it."""
        return self._shared is not None

    def share(self) -> None:
        """Make it once, for a file and a voice channel."""
        self._shared = SharedStream(self._stream())

    async def collect(self, *, on_sentence: Callable[[int], None]) -> Speech:
        """Return all of it, for a file."""
        if self._shared is not None:
            return await self._shared.collect(on_sentence=on_sentence)
        return await collect(self._stream(), on_sentence=on_sentence)

    def entry(self, channel_id: int) -> QueueEntry:
        """Return what is queued in a voice channel."""
        script, voice, owner = self._script, self._script.voice, self._owner
        return QueueEntry(
            owner_id=owner.id,
            channel_id=channel_id,
            voice_id=voice.id,
            voice_owner_id=voice.owner_id,
            speaker=voice.name,
            text=script.words,
            sentences=len(script.sentences),
            speech=self._live,
            expected_seconds=expected_seconds(script.sentences, speed=script.speed),
            production=self._production,
            owner=owner if isinstance(owner, discord.Member) else None,
            message=script.request.source,
        )

    def _live(self) -> AsyncGenerator[SpeechChunk, None]:
        return leveled(self._shared.follow() if self._shared is not None else self._stream())

    def _stream(self) -> AsyncGenerator[SpeechChunk, None]:
        return self._studio.stream(
            self._script.sentences,
            self._script.voice,
            language=self._script.language,
            caller=self._caller,
            production=self._production,
            speed=self._script.speed,
        )
