"""Decodes uploaded recordings to samples, with ffmpeg in a restricted process.

The process gets the upload as an unnamed file on its standard input, and reads it with ffmpeg's
`fd:` protocol. A pipe would not do: phones write the index of an m4a at its end, so ffmpeg has to
seek. No other protocol is allowed. ffmpeg recognises the kind of file by its bytes, and opens it
only if the kind is on a short list, which has no playlists. Only audio decoders are allowed.
"""

from __future__ import annotations

import asyncio
import struct
import sys
import tempfile
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

import imageio_ffmpeg
import numpy as np
import structlog

from bot.audio.ffmpeg_report import read_report
from bot.errors import Reason, Refusal

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from bot.audio.ffmpeg_report import FfmpegReport

log = structlog.get_logger(__name__)

_LAUNCHER = (sys.executable, "-I", "-S", str(Path(__file__).with_name("_limits.py")))

_HAS_LIMITS = sys.platform != "win32"
"""Whether the process can have resource limits. On Windows it cannot, so that only the bot's own
process enforces the deadline and the length."""

_ENDED_BY_LIMIT = {-9, -14, -24}
"""The exit statuses after SIGKILL, SIGALRM and SIGXCPU, on Linux and macOS."""

_CRASHED = {-6, -11}
"""The exit statuses after SIGABRT and SIGSEGV: a damaged file may crash ffmpeg."""

_DECODERS = (
    *("aac", "aac_latm", "ac3", "eac3", "alac", "ape", "flac", "mp1float", "mp2", "mp2float"),
    *("amrnb", "amrwb", "libopencore_amrnb", "libopencore_amrwb", "mp3", "mp3float"),
    *("nellymoser", "opus", "tta", "vorbis", "wavpack"),
    *("wmalossless", "wmapro", "wmav1", "wmav2", "wmavoice"),
    *("adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms", "adpcm_swf", "adpcm_yamaha", "g722"),
    *("pcm_alaw", "pcm_bluray", "pcm_dvd", "pcm_mulaw"),
    *("pcm_f32be", "pcm_f32le", "pcm_f64be", "pcm_f64le", "pcm_s16be", "pcm_s16le"),
    *("pcm_s24be", "pcm_s24le", "pcm_s32be", "pcm_s32le", "pcm_s8", "pcm_u8"),
)

_DEMUXERS = (
    *("aac", "ac3", "eac3", "aiff", "amr", "ape", "asf", "au", "avi", "caf", "flac", "flv"),
    *("matroska", "mov", "mp3", "mpeg", "mpegts", "ogg", "tta", "w64", "wav", "wv"),
)
"""Names of ffmpeg's: matroska also reads webm, mov also mp4, m4a and 3gp, asf wma and wmv, and
mpegts the mts of cameras."""

_OTHER_RECORDINGS = {
    *(
        "aax",
        "acm",
        "adx",
        "aea",
        "aptx",
        "ast",
        "avr",
        "dsf",
        "dss",
        "dts",
        "dtshd",
        "g722",
        "gsm",
    ),
    *(
        "gxf",
        "iff",
        "ircam",
        "latm",
        "lc3",
        "loas",
        "mlp",
        "mmf",
        "mpc",
        "mpc8",
        "mxf",
        "nistsphere",
    ),
    *("nut", "oma", "pvf", "qcp", "qoa", "rm", "sbc", "sds", "shn", "sln", "sol", "sox", "spdif"),
    *("tak", "truehd", "voc", "vqf", "wsaud", "wtv", "wve", "xa", "xwma"),
}
"""Kinds of recordings that are not read, by ffmpeg's names."""

_MAX_STREAMS = 64
_MESSAGE_BYTES = 64 * 1024

_KNOWN_GOOD = b"".join(
    [
        *(b"RIFF", struct.pack("<I", 36 + 1_600), b"WAVEfmt "),
        *(struct.pack("<IHHIIHH", 16, 1, 1, 8_000, 16_000, 2, 16), b"data"),
        *(struct.pack("<I", 1_600), bytes(1_600)),
    ]
)
"""A tenth of a second of silence, as a WAV file."""

_PROBED_BYTES = 1024 * 1024
"""How much of a file ffmpeg may read to recognise it, behind the tags that are left out."""

_TAG_HEADER_BYTES = 10
_MAX_TAGS = 4

_BYTES_PER_SAMPLE = 4
_READ_BYTES = 256 * 1024


@cache
def ffmpeg_path() -> str:
    """Path of the ffmpeg executable that comes with the imageio-ffmpeg wheel.

    The first call reads the disk and may start a process, so make it outside of the event loop.
    Raises `RuntimeError` if neither the wheel nor the system has an ffmpeg.
    """
    path: str = imageio_ffmpeg.get_ffmpeg_exe()
    return path


@dataclass(frozen=True, slots=True)
class Sound:
    """The decoded sound of one track.

    Attributes:
        samples: Mono `(n,)`. Usually within -1 and 1, but a float file can contain any value, also
            NaN.
        tracks: How many channels each sound track of the file has.
    """

    samples: NDArray[np.float32] = field(repr=False)
    tracks: tuple[int, ...] = (1,)


class UnreadableTrack(Refusal):
    """A file's sound track could not be decoded; `tracks` says which there are, as in `Sound`."""

    tracks: tuple[int, ...] = ()


async def decode(  # noqa: PLR0913 - one names the file, two the part of it, three the result
    data: bytes,
    *,
    sample_rate: int,
    max_seconds: float,
    within_seconds: int,
    track: int = 0,
    channel: int | None = None,
) -> Sound:
    """Decode the first `max_seconds` of a sound track to mono samples.

    All its channels are mixed, unless `channel` selects one, counted from 0. `within_seconds`
    limits both the wall-clock time and the CPU time.

    If a file is truncated, its readable part is decoded.

    Raises `Refusal` if no sound can be decoded, if that takes too long, or if ffmpeg cannot start.
    The process ends with the call, also when the call is cancelled.
    """
    run = partial(_run, memoryview(data)[_end_of_tags(data) :], within_seconds)
    max_bytes = round(max_seconds * sample_rate) * _BYTES_PER_SAMPLE
    decoded, report = await run(_arguments(sample_rate, max_seconds, track, channel), max_bytes)
    if decoded:
        return Sound(np.frombuffer(decoded, "<f4"), report.tracks or (1,))
    if report.format_unknown:  # its name is among the messages that ffmpeg usually leaves out
        _, report = await run(["-loglevel", "debug", *_input_arguments(), "-f", "null", "-"], 0)
    unreadable = UnreadableTrack(_reason(report))
    unreadable.tracks = report.tracks
    raise unreadable


async def check_decoder() -> bool:
    """Whether this machine can decode a recording that is known to be good; if not, log that."""
    try:
        await decode(_KNOWN_GOOD, sample_rate=8_000, max_seconds=1, within_seconds=10)
    except Refusal as refusal:
        log.error("no recording can be read on this machine", reason=str(refusal))  # noqa: TRY400 - it has no more to tell
        return False
    return True


async def _run(
    data: memoryview, within_seconds: int, arguments: Sequence[str], max_bytes: int
) -> tuple[bytes, FfmpegReport]:
    """Run ffmpeg on a file; return the first bytes of its output, and what it has said."""
    try:
        program = await asyncio.to_thread(ffmpeg_path)
        with tempfile.TemporaryFile(buffering=0) as upload:
            await asyncio.to_thread(_fill, upload, data)
            process = await asyncio.create_subprocess_exec(
                *((*_LAUNCHER, str(within_seconds)) if _HAS_LIMITS else ()),
                *(program, "-nostdin", "-hide_banner", "-nostats", *arguments),
                stdin=upload,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={"MALLOC_ARENA_MAX": "1"},
            )
    except (OSError, RuntimeError) as error:
        log.error("recordings can't be read: ffmpeg doesn't start", reason=repr(error))  # noqa: TRY400 - the trace tells no more
        raise Refusal(Reason.DECODER_BROKEN) from error
    try:
        async with asyncio.timeout(within_seconds + 0.5):
            decoded, messages = await _read(process, max_bytes)
    except TimeoutError:
        raise Refusal(Reason.RECORDING_TOO_SLOW) from None
    finally:
        await _end(process)
    if process.returncode in _ENDED_BY_LIMIT:
        raise Refusal(Reason.RECORDING_TOO_SLOW)
    report = read_report(messages)
    if not decoded and not report.looked_at_input and process.returncode not in _CRASHED:
        log.error("recordings can't be read: ffmpeg doesn't start", status=process.returncode)
        raise Refusal(Reason.DECODER_BROKEN)
    return decoded, report


def _reason(report: FfmpegReport) -> Reason:
    """Why nothing was decoded."""
    if report.codec_unknown or report.probed in _OTHER_RECORDINGS:
        return Reason.RECORDING_KIND_UNKNOWN
    return Reason.NOT_A_RECORDING


def _input_arguments() -> list[str]:
    return [
        *("-filter_threads", "1", "-protocol_whitelist", "fd"),
        *("-codec_whitelist", ",".join(_DECODERS), "-format_whitelist", ",".join(_DEMUXERS)),
        *("-formatprobesize", str(_PROBED_BYTES), "-max_streams", str(_MAX_STREAMS)),
        *("-threads", "1", "-vn", "-sn", "-dn", "-i", "fd:"),
    ]


def _arguments(sample_rate: int, max_seconds: float, track: int, channel: int | None) -> list[str]:
    return [
        *_input_arguments(),
        *("-map", f"0:a:{track}", "-map_metadata", "-1", "-t", str(max_seconds)),
        *(() if channel is None else ("-af", f"pan=mono|c0=c{channel}")),
        *("-ac", "1", "-ar", str(sample_rate), "-f", "f32le", "pipe:1"),
    ]


def _end_of_tags(data: bytes) -> int:
    """Return where the ID3v2 tags in front of a recording end; they may hold large pictures.

    A tag's length is four bytes of seven bits: https://id3.org/id3v2.4.0-structure, section 3.1.
    """
    end = 0
    for _ in range(_MAX_TAGS):
        header = data[end : end + _TAG_HEADER_BYTES]
        if len(header) < _TAG_HEADER_BYTES or not header.startswith(b"ID3"):
            break
        length = 0
        for byte in header[6:]:
            length = length << 7 | byte & 0x7F
        end += _TAG_HEADER_BYTES
        if end + length < len(data):  # a length beyond the file is wrong
            end += length
    return end


def _fill(file: IO[bytes], data: memoryview) -> None:
    while data:
        data = data[file.write(data) :]
    file.seek(0)


async def _read(process: Process, max_bytes: int) -> tuple[bytes, bytes]:
    """Read the process's output until it ends: up to `max_bytes` in whole samples, and messages."""
    assert process.stdout is not None  # noqa: S101 - it was started with pipes
    assert process.stderr is not None  # noqa: S101 - as above
    decoded, messages = await asyncio.gather(
        _read_start(process.stdout, max_bytes), _read_start(process.stderr, _MESSAGE_BYTES)
    )
    await process.wait()
    whole = len(decoded) // _BYTES_PER_SAMPLE * _BYTES_PER_SAMPLE
    return bytes(memoryview(decoded)[:whole]), bytes(messages)


async def _read_start(stream: asyncio.StreamReader, max_bytes: int) -> bytearray:
    """Read a stream to its end, and keep its first bytes."""
    kept = bytearray()
    while part := await stream.read(_READ_BYTES):
        kept += part[: max_bytes - len(kept)]
    return kept


async def _end(process: Process) -> None:
    """Kill the process if it still runs, and reap it.

    There is only one process: the launcher becomes ffmpeg by exec, and ffmpeg starts no others.
    """
    if process.returncode is None:
        process.kill()
        await process.communicate()
