"""Recordings, and the reference clips that are made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from backend.contract import MAX_REFERENCE_SECONDS, REFERENCE_SAMPLE_RATE
from benchmarks.speech_quality.errors import CannotMeasureError
from bot.audio.clip import to_pcm16
from bot.audio.decode import decode
from bot.audio.reference import DECODE_WITHIN_SECONDS, ReferenceReader

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_SUFFIXES = {
    *(".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".webm", ".aac", ".aiff", ".mp4", ".mkv"),
}


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording of one person, as somebody would upload it.

    Attributes:
        name: For tables.
        data: The file's bytes.
        transcript: Exactly what is said in it, or None if nobody wrote it down.
    """

    name: str
    data: bytes = field(repr=False)
    transcript: str | None = None

    @property
    def key(self) -> str:
        """What the recording is recognised by in another run: its name, and a digest of it."""
        return f"{self.name} {sha256(self.data).hexdigest()[:12]}"


def find_recordings(folder: Path) -> list[Recording]:
    """Read the recordings in a folder and below it.

    A text file of the same name beside a recording, such as `ann.txt` beside `ann.wav`, is its
    transcript. Raises `CannotMeasureError` if there is none.
    """
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in _SUFFIXES)
    if not files:
        raise CannotMeasureError(f"there is no recording in {folder}")
    return [
        Recording(
            file.relative_to(folder).with_suffix("").as_posix(), file.read_bytes(), _words_of(file)
        )
        for file in files
    ]


async def prepared_clip(recording: Recording) -> NDArray[np.float32]:
    """Make the clip that the bot makes of an upload: cleaned, cut and brought to its level.

    Returns samples `(n,)` at `REFERENCE_SAMPLE_RATE`. Raises `Refusal` if the bot would.
    """
    has_words = recording.transcript is not None
    audio = await ReferenceReader().read(recording.data, transcript_given=has_words)
    return audio.samples


async def raw_clip(recording: Recording) -> NDArray[np.float32]:
    """Decode the first 30 s of a recording, and change nothing else, as a simple service does.

    Returns samples `(n,)` at `REFERENCE_SAMPLE_RATE`. Raises `Refusal` if it cannot be decoded.
    """
    sound = await decode(
        recording.data,
        sample_rate=REFERENCE_SAMPLE_RATE,
        max_seconds=MAX_REFERENCE_SECONDS,
        within_seconds=DECODE_WITHIN_SECONDS,
    )
    return np.clip(np.nan_to_num(sound.samples), -1, 1)


def as_pcm(samples: NDArray[np.float32]) -> bytes:
    """Convert a clip to the bytes that a backend takes, within its limit of 30 s."""
    return to_pcm16(samples[: round(MAX_REFERENCE_SECONDS * REFERENCE_SAMPLE_RATE)])


def _words_of(file: Path) -> str | None:
    beside = file.with_suffix(".txt")
    text = beside.read_text(encoding="utf-8").strip() if beside.is_file() else ""
    return text or None
