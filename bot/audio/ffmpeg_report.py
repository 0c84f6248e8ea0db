"""What ffmpeg says about a file that it was given: its sound tracks, and why it opens none.

It says so in its messages, which have no other form. They quote the file's tags, so they are not
logged, and nothing of them is shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TRACK = re.compile(r"^\s+Stream #0:\d+.*?: Audio: (.*)$", re.MULTILINE)
_OUTPUT = re.compile(r"^Output #0", re.MULTILINE)
_LAYOUT = re.compile(
    r", (?:(mono)|(\d+) channels|(\d+(?:\.\d)+)|(quad|hexadecagonal|hexagonal|octagonal|cube))"
)
_MORE_THAN_ONE = {"quad": 4, "hexagonal": 6, "octagonal": 8, "cube": 8, "hexadecagonal": 16}
_STEREO = 2

_LOOKED_AT_INPUT = re.compile(r"Input #0|input file fd:|Error opening input")
_UNKNOWN_CODEC = re.compile(r"Codec \(\w+\) not on whitelist|no decoder found|Decoder .* not found")
_UNKNOWN_FORMAT = "Format not on whitelist"
_PROBED = re.compile(r"Format (\S+) probed with size=\d+ and score=(\d+)")
_SURE_SCORE = 25


@dataclass(frozen=True, slots=True)
class FfmpegReport:
    """What ffmpeg has said.

    Attributes:
        tracks: For each sound track, how many channels it has.
        looked_at_input: Whether ffmpeg has come as far as the file. If not, it could not start.
        codec_unknown: Whether there is sound, of a codec that is not on the list.
        format_unknown: Whether the file is of a kind that is not on the list.
        probed: The kind of file, by ffmpeg's name; only if ffmpeg was asked for all its messages.
    """

    tracks: tuple[int, ...] = ()
    looked_at_input: bool = False
    codec_unknown: bool = False
    format_unknown: bool = False
    probed: str | None = None


def read_report(messages: bytes) -> FfmpegReport:
    """Read ffmpeg's messages, which it writes at the log level "info" or "debug"."""
    text = messages.decode(errors="replace")
    output = _OUTPUT.search(text)
    listed = _TRACK.findall(text, 0, output.start() if output else len(text))
    probed = [match for match in _PROBED.findall(text) if int(match[1]) >= _SURE_SCORE]
    return FfmpegReport(
        tracks=tuple(map(_channels, listed)),
        looked_at_input=bool(_LOOKED_AT_INPUT.search(text)) or _UNKNOWN_FORMAT in text,
        codec_unknown=bool(listed and _UNKNOWN_CODEC.search(text)),
        format_unknown=_UNKNOWN_FORMAT in text,
        probed=probed[-1][0] if probed else None,
    )


def _channels(track: str) -> int:
    """How many channels a track has: "aac (LC), 48000 Hz, stereo, fltp" has two, "7.1.4" twelve."""
    layout = _LAYOUT.search(track)
    if layout is None:
        return _STEREO
    mono, count, groups, name = layout.groups()
    if mono:
        return 1
    if name:
        return _MORE_THAN_ONE[name]
    return int(count) if count else sum(map(int, groups.split(".")))
