"""Audio as callers send it, decoded to the samples that the model takes; and PCM as a WAV file."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr

from backend.contract import (
    MAX_REFERENCE_SECONDS,
    MIN_REFERENCE_SECONDS,
    REFERENCE_SAMPLE_RATE,
    REFERENCE_TOLERANCE_SECONDS,
    ReferenceUnusableError,
    is_reference_length,
)
from backend.sent_audio import read_audio_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backend.contract import ReferenceClip
    from backend.sent_audio import FetchAudio

_FORMATS = ("AIFF", "CAF", "FLAC", "MP3", "OGG", "RF64", "WAV", "WAVEX")
_CHANNELS = (1, 2)
_SHORTEST_AND_LONGEST = tuple(
    round(seconds * REFERENCE_SAMPLE_RATE)
    for seconds in (MIN_REFERENCE_SECONDS, MAX_REFERENCE_SECONDS)
)
_SAMPLE_RATES = range(8_000, 192_001)


async def load_reference(ref_audio: bytes | str, fetch: FetchAudio) -> NDArray[np.float32]:
    """Decode a reference clip, in any form that callers send.

    Args:
        ref_audio: An audio file's bytes, the same as base64 or as a base64 data URL, or the https
            address of one.
        fetch: Downloads the file at an address.

    Returns:
        Mono `(n,)` in [-1, 1] at `REFERENCE_SAMPLE_RATE`, not too short and not too long.

    Raises `ReferenceUnusableError`, with a reason that quotes nothing of the clip.
    """
    file = await read_audio_file(ref_audio, fetch)
    longest = MAX_REFERENCE_SECONDS + REFERENCE_TOLERANCE_SECONDS
    return _fitted(await asyncio.to_thread(decode_audio, file, longest))


def read_clip(clip: ReferenceClip) -> NDArray[np.float32]:
    """Read a reference clip that is decoded already, as `load_reference` returns one.

    Raises `ReferenceUnusableError` unless it is PCM at `REFERENCE_SAMPLE_RATE` that is neither too
    short nor too long.
    """
    if clip.sample_rate != REFERENCE_SAMPLE_RATE or len(clip.pcm) % 2:
        raise ReferenceUnusableError("it is not mono 16-bit PCM at 24 kHz")
    samples = np.frombuffer(clip.pcm, "<i2").astype(np.float32) / np.float32(32_768)
    return _fitted(samples)


def decode_audio(file: bytes, max_seconds: float) -> NDArray[np.float32]:
    """Decode an audio file. Blocks for as long as that takes.

    No more than `max_seconds` are decoded, however long the file is.

    Returns:
        Mono `(n,)` in [-1, 1] at `REFERENCE_SAMPLE_RATE`.

    Raises `ReferenceUnusableError` if it is no audio file, is longer, or has samples that are not
    finite.
    """
    try:
        samples, sample_rate = _decode(file, max_seconds)
    except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError) as error:
        raise ReferenceUnusableError(
            "it is not an audio file that can be read: send WAV, FLAC, Ogg or MP3"
        ) from error
    if len(samples) > max_seconds * sample_rate:
        raise ReferenceUnusableError(f"it lasts longer than {max_seconds:.0f} s")
    if not np.isfinite(samples).all():
        raise ReferenceUnusableError("it holds samples that are not numbers")
    mono: NDArray[np.float32] = soxr.resample(
        samples.mean(axis=1), sample_rate, REFERENCE_SAMPLE_RATE
    )
    peak = np.abs(mono).max(initial=1.0)  # floating-point files and resampling exceed full scale
    full_scale: NDArray[np.float32] = mono / np.float32(peak)
    return full_scale


def write_wav(pcm: bytes) -> bytes:
    """Put mono s16le samples at `REFERENCE_SAMPLE_RATE` into a WAV file."""
    file = io.BytesIO()
    samples = np.frombuffer(pcm, "<i2")
    soundfile.write(file, samples, REFERENCE_SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


class _FileInMemory(io.BytesIO):
    """A file for libsndfile, which in a damaged file may seek to before its first byte."""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return super().seek(max(0, offset) if whence == io.SEEK_SET else offset, whence)


def _fitted(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring a clip that is a little too short or too long to a length that serves."""
    seconds = len(samples) / REFERENCE_SAMPLE_RATE
    if not is_reference_length(seconds):
        raise ReferenceUnusableError(
            f"it lasts {seconds:.1f} s, but {MIN_REFERENCE_SECONDS:.0f} s are needed"
            if seconds < MIN_REFERENCE_SECONDS
            else f"it lasts longer than {MAX_REFERENCE_SECONDS:.0f} s"
        )
    shortest, longest = _SHORTEST_AND_LONGEST
    return np.pad(samples[:longest], (0, max(0, shortest - len(samples))))


def _decode(file: bytes, max_seconds: float) -> tuple[NDArray[np.float32], int]:
    """Decode samples `(n, channels)`: one more than allowed if the file is too long."""
    with soundfile.SoundFile(_FileInMemory(file)) as audio:
        if audio.format not in _FORMATS:
            raise ReferenceUnusableError("its format is not read: send WAV, FLAC, Ogg or MP3")
        if audio.channels not in _CHANNELS:
            raise ReferenceUnusableError("it has more than two channels")
        if audio.samplerate not in _SAMPLE_RATES:
            raise ReferenceUnusableError("its sample rate is not between 8 and 192 kHz")
        most = int(max_seconds * audio.samplerate) + 1
        return audio.read(most, dtype="float32", always_2d=True), audio.samplerate
