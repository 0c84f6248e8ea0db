"""Detects the kind of an uploaded file, from its bytes alone."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bot.errors import Reason, Refusal


@dataclass(frozen=True, slots=True)
class Container:
    """How to read a file.

    Attributes:
        demuxer: The only ffmpeg demuxer that may read the file.
        offset: The bytes to skip at the start: ID3 tags, or the rest of a frame that was cut.
    """

    demuxer: str
    offset: int = 0


_SIGNATURES: tuple[tuple[int, tuple[bytes, ...], str], ...] = (
    (0, (b"OggS",), "ogg"),
    (0, (b"fLaC",), "flac"),
    (0, (b"\x1aE\xdf\xa3",), "matroska"),  # and webm
    (0, (b"caff",), "caf"),
    (0, (b"#!AMR\n", b"#!AMR-WB\n"), "amr"),
    # mp4, m4a, 3gp and mov. The oldest QuickTime files start with another box than ftyp.
    (4, (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"), "mov"),
)
"""The position of a signature, its possible values, and the demuxer to use."""

_CHUNKED: tuple[tuple[tuple[bytes, ...], tuple[bytes, ...], str], ...] = (
    ((b"RIFF", b"RIFX", b"RF64", b"BW64"), (b"WAVE",), "wav"),
    ((b"FORM",), (b"AIFF", b"AIFC"), "aiff"),
)
"""For files made of chunks: the first four bytes, the four bytes after the length, the demuxer."""

_FRAME_HEADERS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    # Sync, MPEG version and layer (II or III), then a bit rate that is neither free nor forbidden.
    (re.compile(rb"\xff[\xe2-\xe5\xf2-\xf5\xfa-\xfd][\x10-\xef]"), "mp3"),
    # The same sync with layer 0: ADTS, which holds AAC.
    (re.compile(rb"\xff[\xf0\xf1\xf8\xf9]."), "aac"),
)
"""The first bytes of files that have frames only and no file header."""

_ID3_HEADER_BYTES = 10
_ID3_HAS_FOOTER = 0x10
_MAX_ID3_TAGS = 4

FRAME_SEARCH_BYTES = 8 * 1024
"""How far the first frame is searched for; the longest mp3 frame has 1,441 bytes."""

_FRAMES_IN_A_ROW = 3
"""Random bytes often look like the header of a frame, but not like this many frames in a row."""

_MAX_ADTS_FRAME_BYTES = 8 * 1024
_MPEG_1 = 3
_KILOBITS = {
    True: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG-1
    False: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG-2 and 2.5
}
_FREE_OR_FORBIDDEN = {0, 15}
_SAMPLE_RATES = (44_100, 48_000, 32_000)
_RESERVED_RATE = 3
_RATE_DIVISORS = {3: 1, 2: 2, 0: 4}  # by the version bits; 1 is reserved
_FRAME_HEADER_BYTES = 7
_SYNC = 0xFF
"""The first byte of every frame."""


def identify(data: bytes) -> Container:
    """Tell what kind of recording a file is.

    The first 16 bytes are enough, except for files that begin with an ID3 tag or in the middle of a
    frame. If `data` ends inside an ID3 tag, the file is treated as an mp3.

    Raises `Refusal` for anything that is not a recording.
    """
    offset = _end_of_id3_tags(data)
    head = data[offset : offset + 16]
    demuxer = _by_signature(head) or _by_frame_header(head)
    if demuxer is None and offset:
        # What follows the tag may be padding, which the mp3 demuxer skips.
        demuxer = "mp3"
    if demuxer is not None:
        return Container(demuxer, offset)
    found = find_frames(data)
    if found is None:
        raise Refusal(Reason.NOT_A_RECORDING)
    return found


def _by_signature(head: bytes) -> str | None:
    for position, signatures, demuxer in _SIGNATURES:
        if head.startswith(signatures, position):
            return demuxer
    for families, kinds, demuxer in _CHUNKED:
        if head.startswith(families) and head.startswith(kinds, 8):
            return demuxer
    return None


def _by_frame_header(head: bytes) -> str | None:
    for header, demuxer in _FRAME_HEADERS:
        if header.match(head):
            return demuxer
    return None


def _end_of_id3_tags(data: bytes) -> int:
    """Return the offset at which the ID3v2 tags in front of a recording end.

    A tag's length is four bytes of seven bits: https://id3.org/id3v2.4.0-structure, section 3.1.
    """
    end = 0
    for _ in range(_MAX_ID3_TAGS):
        header = data[end : end + _ID3_HEADER_BYTES]
        if len(header) < _ID3_HEADER_BYTES or not header.startswith(b"ID3"):
            break
        length = 0
        for byte in header[6:]:
            length = length << 7 | byte & 0x7F
        footer = _ID3_HEADER_BYTES if header[5] & _ID3_HAS_FOOTER else 0
        end += _ID3_HEADER_BYTES + length + footer
    return end


def find_frames(data: bytes) -> Container | None:
    """Find the first whole frame in an mp3 or AAC file that starts in the middle of one.

    Such files come from cutting a recording or a stream at any byte. A frame counts if two more
    follow it without a gap.
    """
    head = data[: FRAME_SEARCH_BYTES + (_FRAMES_IN_A_ROW + 1) * _MAX_ADTS_FRAME_BYTES]
    for start in range(min(len(head), FRAME_SEARCH_BYTES)):
        if head[start] != _SYNC:
            continue
        for demuxer, length_of in (("mp3", _mp3_frame_bytes), ("aac", _adts_frame_bytes)):
            end = start
            for _ in range(_FRAMES_IN_A_ROW):
                end += length_of(head[end : end + _FRAME_HEADER_BYTES]) or len(head)
            if end <= len(head):
                return Container(demuxer, start)
    return None


def _mp3_frame_bytes(header: bytes) -> int | None:
    """Length of a layer III frame, or None if `header` is not the header of one.

    http://www.mp3-tech.org/programmer/frame_header.html
    """
    if not _starts_frame(header, mask=0b11100110, value=0b11100010):
        return None
    version, bit_rate, rate = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
    if version not in _RATE_DIVISORS or bit_rate in _FREE_OR_FORBIDDEN or rate == _RESERVED_RATE:
        return None
    is_mpeg1 = version == _MPEG_1
    bits = _KILOBITS[is_mpeg1][bit_rate - 1] * 1_000
    sample_rate = _SAMPLE_RATES[rate] // _RATE_DIVISORS[version]
    samples = 1_152 if is_mpeg1 else 576
    return samples // 8 * bits // sample_rate + (header[2] >> 1 & 1)


def _adts_frame_bytes(header: bytes) -> int | None:
    """Length of an ADTS frame, or None if `header` is not the header of one.

    https://wiki.multimedia.cx/index.php/ADTS
    """
    if not _starts_frame(header, mask=0b11110110, value=0b11110000):
        return None
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return length if length > _FRAME_HEADER_BYTES else None


def _starts_frame(header: bytes, *, mask: int, value: int) -> bool:
    """Whether `header` is long enough, and begins with the sync bits and `value` in the mask."""
    return len(header) == _FRAME_HEADER_BYTES and header[0] == _SYNC and header[1] & mask == value
