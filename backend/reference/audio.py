"""Reference audio as callers send it, as the samples that the model hears."""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr

from backend.contract import (
    MAX_REFERENCE_SECONDS,
    MIN_REFERENCE_SECONDS,
    REFERENCE_SAMPLE_RATE,
    ReferenceUnusableError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from numpy.typing import NDArray

    FetchAudio = Callable[[str], Awaitable[bytes]]
    """Gets a file from an address, or raises `ReferenceUnusableError`."""

MAX_AUDIO_BYTES = 16 * 1024 * 1024
"""The largest file, whichever way it comes: 30 s in stereo at 48 kHz and 32 bits have 11 MiB."""

MAX_ADDRESS_CHARACTERS = 2_048

_MAX_BASE64_CHARACTERS = 4 * -(-MAX_AUDIO_BYTES // 3)
_FORMATS = ("AIFF", "CAF", "FLAC", "MP3", "OGG", "RF64", "WAV", "WAVEX")
_CHANNELS = (1, 2)
_SAMPLE_RATES = range(8_000, 192_001)


async def load_reference(ref_audio: bytes | str, fetch: FetchAudio) -> NDArray[np.float32]:
    """Take reference audio in any of its forms.

    Args:
        ref_audio: An audio file's bytes, the same as base64, or the https address of one.
        fetch: Gets the file behind an address.

    Returns:
        Mono `(n,)` in [-1, 1] at `REFERENCE_SAMPLE_RATE`, of a length that can serve.

    Raises `ReferenceUnusableError`, with a reason that quotes nothing of it.
    """
    file = await read_audio_file(ref_audio, fetch)
    samples = await asyncio.to_thread(decode_audio, file, MAX_REFERENCE_SECONDS)
    seconds = len(samples) / REFERENCE_SAMPLE_RATE
    if seconds < MIN_REFERENCE_SECONDS:
        raise ReferenceUnusableError(
            f"it lasts {seconds:.1f} s, but {MIN_REFERENCE_SECONDS:.0f} s are needed"
        )
    return samples


async def read_audio_file(audio: bytes | str, fetch: FetchAudio) -> bytes:
    """Get an audio file's bytes, at most `MAX_AUDIO_BYTES`, from any form that callers send.

    Raises `ReferenceUnusableError`.
    """
    if isinstance(audio, bytes | bytearray | memoryview):
        file = bytes(audio)
    elif not isinstance(audio, str):
        raise ReferenceUnusableError("it is neither bytes, base64 nor an https address")
    elif "://" in audio[:MAX_ADDRESS_CHARACTERS]:
        file = await fetch(audio)
    else:
        file = await asyncio.to_thread(_from_base64, audio)
    if not file:
        raise ReferenceUnusableError("it is empty")
    if len(file) > MAX_AUDIO_BYTES:
        raise ReferenceUnusableError(f"it has more than {MAX_AUDIO_BYTES >> 20} MiB")
    return file


def decode_audio(file: bytes, max_seconds: float) -> NDArray[np.float32]:
    """Decode an audio file. Blocks for as long as that takes.

    However long the file is, no more than `max_seconds` of it are decoded.

    Returns:
        Mono `(n,)` in [-1, 1] at `REFERENCE_SAMPLE_RATE`.

    Raises `ReferenceUnusableError` if it is no audio file, is longer, or holds no usable samples.
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


class _FileInMemory(io.BytesIO):
    """A file for libsndfile, which seeks to places before the first byte of a damaged one."""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return super().seek(max(0, offset) if whence == io.SEEK_SET else offset, whence)


def _from_base64(text: str) -> bytes:
    if len(text) > _MAX_BASE64_CHARACTERS:
        raise ReferenceUnusableError(f"it has more than {MAX_AUDIO_BYTES >> 20} MiB")
    try:
        return base64.b64decode("".join(text.split()), validate=True)  # some break its lines
    except (binascii.Error, ValueError):
        raise ReferenceUnusableError("the text is neither base64 nor an https address") from None


def _decode(file: bytes, max_seconds: float) -> tuple[NDArray[np.float32], int]:
    """Decode samples `(n, channels)`, one more than allowed if the file goes on."""
    with soundfile.SoundFile(_FileInMemory(file)) as audio:
        if audio.format not in _FORMATS:
            raise ReferenceUnusableError("its format is not read: send WAV, FLAC, Ogg or MP3")
        if audio.channels not in _CHANNELS:
            raise ReferenceUnusableError("it has more than two channels")
        if audio.samplerate not in _SAMPLE_RATES:
            raise ReferenceUnusableError("its sample rate is not between 8 and 192 kHz")
        most = int(max_seconds * audio.samplerate) + 1
        return audio.read(most, dtype="float32", always_2d=True), audio.samplerate
