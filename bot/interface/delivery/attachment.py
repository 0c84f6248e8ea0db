"""Speech as it is attached to a message: of which kind, and as how many files."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import structlog

from bot.audio.encode import AudioFormat, SpeechEncodingError, encode_speech, waveform

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bot.audio.encode import SpeechFile
    from bot.streaming import Speech

log = structlog.get_logger(__name__)


class ReplyFormat(StrEnum):
    """How speech can be attached. The value is the slash command's."""

    OGG = "ogg"
    VOICE_MESSAGE = "voice-message"
    MP3 = "mp3"
    WAV = "wav"
    FLAC = "flac"

    @property
    def audio_format(self) -> AudioFormat:
        """The kind of file that is uploaded for it."""
        return AudioFormat.OGG if self is ReplyFormat.VOICE_MESSAGE else AudioFormat(self.value)


@dataclass(frozen=True, slots=True)
class SpeechAttachment:
    """Speech to be posted; encoded once the upload limit is known.

    Attributes:
        speech: What to encode.
        reply_format: How it is attached.
        encoders: Bounds how many encoders run at once.
        check: Called when files are made; it raises what keeps the speech from being posted then.
        parts_before: How many parts of the same speech were posted earlier.
    """

    speech: Speech
    reply_format: ReplyFormat
    encoders: asyncio.Semaphore
    check: Callable[[], None] = lambda: None
    parts_before: int = 0

    async def files(self, limit_bytes: int) -> list[SpeechFile]:
        """Make files of the speech, none larger than the limit.

        If the encoder fails, they are WAV files, which need none: the speech is not thrown away.
        """
        async with self.encoders:
            try:
                files = await self._encode(self.reply_format.audio_format, limit_bytes)
            except SpeechEncodingError as error:
                log.error("speech not encoded; posted as WAV", exc_info=error)  # noqa: TRY400 - as the other logs
                files = await self._encode(AudioFormat.WAV, limit_bytes)
        self.check()
        return files

    def rest(self, posted: Sequence[SpeechFile]) -> SpeechAttachment:
        """What is left of the speech when some of its files have been posted."""
        return replace(
            self,
            speech=self.speech.after(sum(file.seconds for file in posted)),
            parts_before=self.parts_before + len(posted),
        )

    async def waveform(self) -> bytes:
        """Draw the speech as Discord shows it in a voice message."""
        return await asyncio.to_thread(waveform, self.speech.pcm, self.speech.sample_rate)

    async def _encode(self, audio_format: AudioFormat, limit_bytes: int) -> list[SpeechFile]:
        return await encode_speech(
            self.speech.pcm,
            self.speech.sample_rate,
            audio_format,
            limit_bytes=limit_bytes,
            stem="speech",
            breaks=self.speech.breaks,
            parts_before=self.parts_before,
        )
