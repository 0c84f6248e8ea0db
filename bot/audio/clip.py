"""Reference clips as bytes: FLAC for the database, PCM for the speech backends.

Both hold mono 16-bit samples at `REFERENCE_SAMPLE_RATE`, and give back the same ones.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from backend.contract import MAX_REFERENCE_SECONDS, REFERENCE_SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FULL_SCALE = 32_768
_MAX_SAMPLES = round(MAX_REFERENCE_SECONDS * REFERENCE_SAMPLE_RATE)


class ClipDamagedError(Exception):
    """The bytes are not a reference clip that `to_flac` wrote."""


def to_pcm16(samples: NDArray[np.float32]) -> bytes:
    """Samples within -1 and 1, `(n,)`, as s16le. What lies outside is clipped."""
    return _to_int16(samples).astype("<i2").tobytes()


def from_pcm16(pcm: bytes) -> NDArray[np.float32]:
    """The samples, `(n,)`, within -1 and 1."""
    return np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(_FULL_SCALE)


def to_flac(samples: NDArray[np.float32]) -> bytes:
    """A clip of at most `MAX_REFERENCE_SECONDS`, `(n,)`, as a FLAC file."""
    if len(samples) > _MAX_SAMPLES:
        raise ValueError(f"a clip has at most {_MAX_SAMPLES} samples, not {len(samples)}")
    file = io.BytesIO()
    soundfile.write(
        file, _to_int16(samples), REFERENCE_SAMPLE_RATE, format="FLAC", subtype="PCM_16"
    )
    return file.getvalue()


def from_flac(data: bytes) -> NDArray[np.float32]:
    """The samples that `to_flac` was given, to 16 bits. Raises `ClipDamagedError`."""
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            layout = (file.format, file.samplerate, file.channels)
            samples = file.read(_MAX_SAMPLES + 1, dtype="int16")
    except soundfile.SoundFileError as error:
        raise ClipDamagedError("not readable as FLAC") from error
    if layout != ("FLAC", REFERENCE_SAMPLE_RATE, 1) or len(samples) > _MAX_SAMPLES:
        raise ClipDamagedError("not mono FLAC at the reference's sample rate and length")
    return from_pcm16(samples.astype("<i2").tobytes())


def _to_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    scaled = np.rint(np.asarray(samples, np.float64) * _FULL_SCALE)
    return np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
