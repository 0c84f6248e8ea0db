"""What kind of file an upload is, judged by its bytes alone."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bot.audio.frames import find_frames
from bot.errors import Refusal

NOT_A_RECORDING = (
    "That file is not a recording I can read. Send wav, mp3, m4a, ogg, flac, webm or mp4."
)


@dataclass(frozen=True, slots=True)
class Container:
    """How to read a file.

    Attributes:
        demuxer: The one ffmpeg demuxer that may touch the file.
        offset: Bytes to leave out at the start: ID3 tags, or the rest of a frame that was cut.
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
"""Where a signature stands, what it may be, and the demuxer to use."""

_CHUNKED: tuple[tuple[tuple[bytes, ...], tuple[bytes, ...], str], ...] = (
    ((b"RIFF", b"RIFX", b"RF64", b"BW64"), (b"WAVE",), "wav"),
    ((b"FORM",), (b"AIFF", b"AIFC"), "aiff"),
)
"""Files of chunks: their first four bytes, what follows their length, and the demuxer to use."""

_FRAME_HEADERS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    # Sync, MPEG version and layer (II or III), then a bit rate that is neither free nor forbidden.
    (re.compile(rb"\xff[\xe2-\xe5\xf2-\xf5\xfa-\xfd][\x10-\xef]"), "mp3"),
    # The same sync with layer 0: ADTS, which holds AAC.
    (re.compile(rb"\xff[\xf0\xf1\xf8\xf9]."), "aac"),
)
"""How files start that have no header of their own, only frames."""

_ID3_HEADER_BYTES = 10
_ID3_HAS_FOOTER = 0x10
_MAX_ID3_TAGS = 4


def identify(data: bytes) -> Container:
    """Tell what kind of recording a file is.

    The first 16 bytes are enough, except behind an ID3 tag (where `data` ends inside one, the
    recording is taken for an mp3) and for files that start in the middle of a frame.

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
    frames = find_frames(data)
    if frames is None:
        raise Refusal(NOT_A_RECORDING)
    start, demuxer = frames
    return Container(demuxer, start)


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
    """Where the ID3v2 tags in front of a recording end.

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
