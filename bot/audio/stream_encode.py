"""Encodes speech while it is made, piece by piece, for who can't wait for the whole file."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import soxr

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

SAMPLE_RATE = 24_000
"""Of every format, in Hz. Speech at another rate is resampled."""

_INT16 = np.iinfo(np.int16)
_UNKNOWN_BYTES = 0xFFFF_FFFF
"""The length in a WAV header that is written before the speech is made. Players read to the end."""


class StreamFormat(StrEnum):
    """The formats in which speech is streamed; the values are those of OpenAI's API."""

    MP3 = "mp3"
    OPUS = "opus"
    AAC = "aac"
    FLAC = "flac"
    WAV = "wav"
    PCM = "pcm"


MEDIA_TYPES: Mapping[StreamFormat, str] = {
    StreamFormat.MP3: "audio/mpeg",
    StreamFormat.OPUS: "audio/ogg",
    StreamFormat.AAC: "audio/aac",
    StreamFormat.FLAC: "audio/flac",
    StreamFormat.WAV: "audio/wav",
    StreamFormat.PCM: f"audio/pcm;rate={SAMPLE_RATE};channels=1",
}
"""What HTTP calls each format."""


@dataclass(frozen=True, slots=True)
class _Encoder:
    """How FFmpeg's libraries write one format.

    Attributes:
        container: The muxer's name.
        codec: The encoder's name.
        bit_rate: In bit/s, or None for a lossless format.
        codec_options: More options of the encoder.
        container_options: More options of the muxer.
    """

    container: str
    codec: str
    bit_rate: int | None = None
    codec_options: Mapping[str, str] = field(default_factory=dict)
    container_options: Mapping[str, str] = field(default_factory=dict)


_ENCODERS = {
    # The muxer would go back to the beginning at the end, to write a frame about the whole file.
    StreamFormat.MP3: _Encoder(
        "mp3", "libmp3lame", 128_000, container_options={"write_xing": "0", "id3v2_version": "0"}
    ),
    # By default, a page of the file is kept back until it has a second of sound.
    StreamFormat.OPUS: _Encoder(
        "ogg", "libopus", 64_000, {"application": "audio"}, {"page_duration": "100000"}
    ),
    StreamFormat.AAC: _Encoder("adts", "aac", 96_000),
    StreamFormat.FLAC: _Encoder("flac", "flac", container_options={"metadata_header_padding": "0"}),
}


class StreamEncoder:
    """Encodes mono speech. AAC takes 70 ms for a second of speech, so call it in a thread.

    Args:
        stream_format: The format.
    """

    def __init__(self, stream_format: StreamFormat) -> None:
        self._header = _wav_header() if stream_format is StreamFormat.WAV else b""
        encoder = _ENCODERS.get(stream_format)
        self._file = _Pipe() if encoder is not None else None
        self._resampler: soxr.ResampleStream | None = None
        self._sample_rate = 0
        if encoder is not None:
            self._container: Any = av.open(
                self._file,
                "w",
                format=encoder.container,
                options={"flush_packets": "1", **encoder.container_options},
            )
            stream: Any = self._container.add_stream(
                encoder.codec, rate=SAMPLE_RATE, layout="mono", options=dict(encoder.codec_options)
            )
            if encoder.bit_rate is not None:
                stream.bit_rate = encoder.bit_rate
            self._stream = stream

    def push(self, pcm: bytes, sample_rate: int) -> bytes:
        """Take the next samples; return the bytes that are certain by now, which may be none.

        Args:
            pcm: Mono s16le.
            sample_rate: In Hz; the same with each call.
        """
        return self._encoded(self._resampled(np.frombuffer(pcm, "<i2"), sample_rate))

    def finish(self) -> bytes:
        """Return the last bytes. Nothing can be pushed afterwards."""
        last = b""
        if self._resampler is not None:
            nothing = np.zeros(0, np.float32)
            last = self._encoded(_as_int16(self._resampler.resample_chunk(nothing, last=True)))
        if self._file is None:
            return self._taken_header() + last
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return last + self._file.taken()

    def close(self) -> None:
        """Release what the encoder holds, if it was not finished."""
        if self._file is not None:
            self._file.is_closed = True
            self._container.close()

    def _encoded(self, samples: NDArray[np.int16]) -> bytes:
        if self._file is None:
            return self._taken_header() + samples.astype("<i2").tobytes()
        if len(samples):
            frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="s16", layout="mono")
            frame.sample_rate = SAMPLE_RATE
            self._container.mux(self._stream.encode(frame))
        return self._file.taken()

    def _taken_header(self) -> bytes:
        header, self._header = self._header, b""
        return header

    def _resampled(self, samples: NDArray[np.int16], sample_rate: int) -> NDArray[np.int16]:
        if sample_rate == SAMPLE_RATE:
            return samples
        if self._resampler is None:
            self._resampler = soxr.ResampleStream(
                sample_rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ"
            )
        return _as_int16(self._resampler.resample_chunk(samples.astype(np.float32)))


class _Pipe:
    """A file that is only written, and emptied as it grows. FFmpeg can't go back in it."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self.is_closed = False

    def write(self, data: bytes) -> int:
        """Called by PyAV."""
        if not self.is_closed:
            self._bytes += data
        return len(data)

    def taken(self) -> bytes:
        """Return what was written since the last call."""
        taken = bytes(self._bytes)
        self._bytes.clear()
        return taken


def _as_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    return np.rint(samples).clip(_INT16.min, _INT16.max).astype(np.int16)


def _wav_header() -> bytes:
    """The header of a WAV file of unknown length: mono, 16 bits."""
    return b"".join(
        [
            *(b"RIFF", struct.pack("<I", _UNKNOWN_BYTES), b"WAVEfmt "),
            struct.pack("<IHHIIHH", 16, 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16),
            *(b"data", struct.pack("<I", _UNKNOWN_BYTES)),
        ]
    )
