"""PCM as a WAV file."""

from __future__ import annotations

import io
import wave

_SAMPLE_BYTES = 2


def write_wav(pcm: bytes, sample_rate: int) -> bytes:
    """Put mono s16le samples, at a rate in Hz, into a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(_SAMPLE_BYTES)
        stream.setframerate(sample_rate)
        stream.writeframes(pcm)
    return file.getvalue()
