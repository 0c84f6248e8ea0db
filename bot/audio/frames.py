"""Where the frames begin in an mp3 or AAC file that starts in the middle of one.

Such files come from cutting a recording, or a stream, without regard to its frames.
"""

from __future__ import annotations

SEARCH_BYTES = 8 * 1024
"""How far a frame may be from the start; the longest mp3 frame has 1,441 bytes."""

_FRAMES_IN_A_ROW = 3
"""Two bytes look like a frame's start now and then; three frames in a row are no chance."""

_KILOBITS = {
    True: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG-1
    False: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG-2 and 2.5
}
_SAMPLE_RATES = (44_100, 48_000, 32_000)
_RATE_DIVISORS = {3: 1, 2: 2, 0: 4}  # by the version bits; 1 is reserved
_HEADER_BYTES = 7
_SYNC = 0xFF
"""The first byte of every frame."""

_MPEG_1 = 3
_FREE_OR_FORBIDDEN = {0, 15}
_RESERVED_RATE = 3


def find_frames(data: bytes) -> tuple[int, str] | None:
    """Find the first of three frames in a row: where it begins, and the demuxer that reads it."""
    head = data[: SEARCH_BYTES + 4 * 8 * 1024]  # an ADTS frame may have 8 KiB
    for start in range(min(len(head), SEARCH_BYTES)):
        if head[start] != _SYNC:
            continue
        for demuxer, length_of in (("mp3", _mp3_frame_bytes), ("aac", _adts_frame_bytes)):
            end = start
            for _ in range(_FRAMES_IN_A_ROW):
                end += length_of(head[end : end + _HEADER_BYTES]) or len(head)
            if end <= len(head):
                return start, demuxer
    return None


def _mp3_frame_bytes(header: bytes) -> int | None:
    """Length of a layer III frame, or None if this is no header of one.

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
    """Length of an ADTS frame, or None if this is no header of one.

    https://wiki.multimedia.cx/index.php/ADTS
    """
    if not _starts_frame(header, mask=0b11110110, value=0b11110000):
        return None
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return length if length > _HEADER_BYTES else None


def _starts_frame(header: bytes, *, mask: int, value: int) -> bool:
    """Whether this is long enough, begins with the sync byte, and goes on with the value."""
    return len(header) == _HEADER_BYTES and header[0] == _SYNC and header[1] & mask == value
