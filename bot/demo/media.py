"""What the demo's page can play."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING

import soundfile
from simcord.preview._media import MediaError, MediaWorker

if TYPE_CHECKING:
    from simcord.preview import Preview
    from simcord.preview._media import MediaInfo


class PageMedia(MediaWorker):
    """Prepares files for the page's player, WAV too; a download is still the file itself.

    simcord 3.2.1 converts everything to Ogg/Opus for its player, but fails on a WAV file of the
    usual kind, which doesn't name its channels. As FLAC the same samples pass.
    """

    async def validate(
        self, key: str, blob: bytes, *, media_time: float | None = None
    ) -> MediaInfo:
        """Convert a file for the player. Raises simcord's `MediaError` if it can't be played."""
        if blob.startswith(b"RIFF") and blob[8:12] == b"WAVE":
            blob = await asyncio.to_thread(_as_flac, blob)
        return await super().validate(key, blob, media_time=media_time)


def play_all_formats(preview: Preview) -> None:
    """Let a page that isn't shown yet play every kind of file that the bot posts."""
    preview._media_worker = PageMedia()  # noqa: SLF001 - simcord has no way to ask for another


def _as_flac(wav: bytes) -> bytes:
    flac = io.BytesIO()
    try:
        samples, rate = soundfile.read(io.BytesIO(wav), dtype="int16")
        soundfile.write(flac, samples, rate, format="FLAC")
    except soundfile.SoundFileError as error:
        raise MediaError("the WAV file can't be read") from error
    return flac.getvalue()
