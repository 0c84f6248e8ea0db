"""Speech as what is attached to a reply, in the format that was asked for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from bot.audio.encode import AudioFormat, encode_speech
from bot.audio.waveform import waveform

if TYPE_CHECKING:
    from bot.audio.encode import SpeechFile
    from bot.audio.joining import JoinedSpeech


class ReplyFormat(StrEnum):
    """How speech can be attached. The value is the slash command's."""

    OGG = "ogg"
    VOICE_MESSAGE = "voice-message"
    MP3 = "mp3"
    WAV = "wav"
    FLAC = "flac"

    @property
    def audio_format(self) -> AudioFormat:
        """The kind of file that it takes."""
        return AudioFormat.OGG if self is ReplyFormat.VOICE_MESSAGE else AudioFormat(self.value)


@dataclass(frozen=True, slots=True)
class SpeechAttachment:
    """Speech to be posted; encoded once the upload limit is known.

    Attributes:
        speech: What to encode.
        reply_format: How it is attached.
        turns: Bounds how many encoders run at once.
    """

    speech: JoinedSpeech
    reply_format: ReplyFormat
    turns: asyncio.Semaphore

    async def files(self, limit_bytes: int) -> list[SpeechFile]:
        """Make files of the speech, none larger than the limit."""
        async with self.turns:
            return await encode_speech(
                self.speech.pcm,
                self.speech.sample_rate,
                self.reply_format.audio_format,
                limit_bytes=limit_bytes,
                stem="speech",
                breaks=self.speech.breaks,
            )

    async def waveform(self) -> bytes:
        """Draw the speech as Discord shows it in a voice message."""
        return await asyncio.to_thread(waveform, self.speech.pcm, self.speech.sample_rate)
