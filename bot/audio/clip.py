"""Reference clips as bytes: PCM for the speech backends, FLAC for the database.

Both hold the same mono 16-bit samples at `REFERENCE_SAMPLE_RATE`.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from backend.contract import MAX_REFERENCE_SECONDS, REFERENCE_SAMPLE_RATE
from bot.errors import Reason, Refusal

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FULL_SCALE = 32_768
_MAX_SAMPLES = round(MAX_REFERENCE_SECONDS * REFERENCE_SAMPLE_RATE)


def to_pcm16(samples: NDArray[np.float32]) -> bytes:
    """Convert samples `(n,)` to s16le. Values outside of -1 to 1 are clipped."""
    scaled = np.rint(np.asarray(samples, np.float64) * _FULL_SCALE)
    return np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype("<i2").tobytes()


def to_flac(pcm: bytes, *, max_seconds: float = MAX_REFERENCE_SECONDS) -> bytes:
    """Write a clip of at most `max_seconds`, mono s16le, as a FLAC file."""
    samples = np.frombuffer(pcm, "<i2")
    max_samples = round(max_seconds * REFERENCE_SAMPLE_RATE)
    if len(samples) > max_samples:
        raise ValueError(f"a clip has at most {max_samples} samples, not {len(samples)}")
    file = io.BytesIO()
    soundfile.write(file, samples, REFERENCE_SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def from_flac(data: bytes) -> bytes:
    """Read the s16le samples from a result of `to_flac`.

    Raises `Refusal` if the bytes are not such a file.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            layout = (file.format, file.samplerate, file.channels)
            samples: NDArray[np.int16] = file.read(_MAX_SAMPLES + 1, dtype="int16")
    except soundfile.SoundFileError as error:
        raise Refusal(Reason.CLIP_DAMAGED) from error
    if layout != ("FLAC", REFERENCE_SAMPLE_RATE, 1) or len(samples) > _MAX_SAMPLES:
        raise Refusal(Reason.CLIP_DAMAGED)
    return samples.astype("<i2").tobytes()
