"""The buttons below what its owner sees of a voice. They work after a restart too."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

import discord
import structlog

from backend.contract import REFERENCE_SAMPLE_RATE
from bot.audio.clip import from_flac
from bot.audio.encode import AudioFormat, SpeechEncodingError, encode_speech
from bot.errors import Reason
from bot.guilds.access import Action
from bot.interface.lasting_button import LastingButton
from bot.interface.transcripts import CORRECT, TranscriptButton
from bot.interface.typed_text import voice_name

if TYPE_CHECKING:
    import re

    from bot.interface.reply import Reply
    from bot.voices.records import SavedVoice

STEM = "recording"

log = structlog.get_logger(__name__)


class HearButton(LastingButton, template=r"hear:(?P<voice>\d{1,18})"):
    """Sends the recording of a voice to its owner, and to nobody else."""

    def __init__(self, voice_id: int) -> None:
        super().__init__(
            discord.ui.Button(
                label="Hear the recording",
                style=discord.ButtonStyle.secondary,
                custom_id=f"hear:{voice_id}",
            )
        )
        self._voice_id = voice_id

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        """As `LastingButton.from_match`."""
        return cls(int(match["voice"]))

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        """Send the recording, if whoever pressed owns the voice."""
        async with interaction.client.reply(interaction, Action.OWN) as reply:
            await self._send(interaction, reply)

    async def _send(self, interaction: discord.Interaction[Any], reply: Reply) -> None:
        client = interaction.client
        voice = await client.voice_access.own_by_id(reply.actor, self._voice_id)
        clip = await client.library.clip(voice)
        async with client.replies.encoders:
            name, data = await _playable(clip.flac, reply.max_file_bytes)
        await reply.send_privately(name, data, not_sent=Reason.RECORDING_NOT_SENT)
        shown = voice_name(voice.name)
        await reply.show(f"That's the recording I keep of {shown}. Only you can hear it.")


def own_voice_view(voice: SavedVoice) -> discord.ui.View:
    """The buttons below the card of one's own voice."""
    view = discord.ui.View(timeout=None)
    view.add_item(HearButton(voice.id))
    label = CORRECT if voice.transcript else "Add the transcript"
    view.add_item(TranscriptButton(voice.id, label))
    return view


async def _playable(flac: bytes, max_bytes: int) -> tuple[str, bytes]:
    """Return a saved recording as a file that Discord plays: its name, and its bytes.

    If the encoder fails, that is the file as it's kept, which some of Discord's apps play.
    Raises `Refusal` if the recording is damaged.
    """
    pcm = await asyncio.to_thread(from_flac, flac)
    try:
        [file] = await encode_speech(
            pcm, REFERENCE_SAMPLE_RATE, AudioFormat.OGG, limit_bytes=max_bytes, stem=STEM
        )
    except SpeechEncodingError as error:
        log.error("recording not encoded; sent as FLAC", exc_info=error)  # noqa: TRY400 - as the other logs
        return f"{STEM}.flac", flac
    return file.name, file.data
