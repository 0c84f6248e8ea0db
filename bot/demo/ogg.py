"""Opus packets as an endless Ogg stream, which a browser plays as it comes."""

from __future__ import annotations

import io
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING

import av

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.audio.stream import AudioStream
    from av.container import OutputContainer

SAMPLE_RATE = 48_000
SAMPLES_PER_PACKET = 960
PAGE_MICROSECONDS = 20_000

PADDED_BYTES = 4_000
"""The size that packets are padded to. Chromium decodes a stream in blocks of 32 KiB, which hold
2 s of speech or 15 s of silence without padding. With it they hold 160 ms, and playback lags 0.4 s
behind."""

_CODE_3, _ONE_PADDED_FRAME = 0x03, 0x41


class OggOpusStream:
    """Wraps packets for one listener.

    A packet comes out when the next one goes in, since a page is complete when the next one begins.
    """

    def __init__(self, container: OutputContainer, stream: AudioStream, pages: _Pages) -> None:
        self._container = container
        self._stream = stream
        self._pages = pages
        self._samples = 0

    def add(self, opus: bytes) -> bytes:
        """Take the next packet: one frame of 20 ms, 48 kHz stereo. Return the pages to send now."""
        packet = av.Packet(padded(opus))
        packet.stream = self._stream
        packet.time_base = Fraction(1, SAMPLE_RATE)
        packet.pts = packet.dts = self._samples
        packet.duration = SAMPLES_PER_PACKET
        self._samples += SAMPLES_PER_PACKET
        self._container.mux_one(packet)
        return self._pages.take()


@contextmanager
def ogg_opus_stream() -> Iterator[OggOpusStream]:
    """Open a stream. PyAV crashes on a container that is never closed."""
    pages = _Pages()
    options = {"page_duration": str(PAGE_MICROSECONDS), "flush_packets": "1"}
    with av.open(pages, "w", format="ogg", options=options) as container:
        stream = container.add_stream("libopus", rate=SAMPLE_RATE, layout="stereo")
        container.start_encoding()  # writes the headers; what is added is encoded already
        yield OggOpusStream(container, stream, pages)


def padded(opus: bytes) -> bytes:
    """Lengthen a packet of one frame; decoders skip the padding (RFC 6716, section 3.2.5)."""
    if opus[0] & _CODE_3 or len(opus) + 2 > PADDED_BYTES:
        return opus
    # A length byte of 255 stands for 254 bytes of padding and another length byte.
    full, rest = divmod(PADDED_BYTES - len(opus) - 2, 255)
    header = bytes([opus[0] | _CODE_3, _ONE_PADDED_FRAME]) + b"\xff" * full + bytes([rest])
    return header + opus[1:] + bytes(254 * full + rest)


class _Pages(io.RawIOBase):
    """Collects what the muxer writes."""

    def __init__(self) -> None:
        super().__init__()
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._written += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self._written)
        self._written.clear()
        return taken
