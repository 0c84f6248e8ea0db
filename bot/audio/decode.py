"""Decodes uploaded recordings to samples, with ffmpeg in a restricted process.

The process gets the upload as an unnamed file on its standard input, and reads it with ffmpeg's
`fd:` protocol. A pipe would not do: phones write the index of an m4a at its end, so ffmpeg has to
seek. No other protocol is allowed. ffmpeg recognises the kind of file by its bytes, and opens it
only if the kind is on a short list, which has no playlists. Only audio decoders are allowed.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING

import imageio_ffmpeg
import numpy as np

from bot.errors import Reason, Refusal

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from numpy.typing import NDArray

_LAUNCHER = (sys.executable, "-I", "-S", str(Path(__file__).with_name("_limits.py")))

_HAS_LIMITS = sys.platform != "win32"
"""Whether the process can have resource limits. On Windows it cannot, so that only the bot's own
process enforces the deadline and the length."""

_ENDED_BY_LIMIT = {-9, -14, -24}
"""The exit statuses after SIGKILL, SIGALRM and SIGXCPU, on Linux and macOS."""

_DECODERS = (
    *("aac", "alac", "amrnb", "amrwb", "libopencore_amrnb", "libopencore_amrwb"),
    *("flac", "mp2", "mp2float", "mp3", "mp3float", "opus", "vorbis"),
    *("adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms", "g722", "pcm_alaw", "pcm_mulaw"),
    *("pcm_f32be", "pcm_f32le", "pcm_f64be", "pcm_f64le", "pcm_s16be", "pcm_s16le"),
    *("pcm_s24be", "pcm_s24le", "pcm_s32be", "pcm_s32le", "pcm_s8", "pcm_u8"),
)

_DEMUXERS = ("aac", "aiff", "amr", "caf", "flac", "matroska", "mov", "mp3", "ogg", "wav")
"""Names of ffmpeg's: matroska also reads webm, and mov also mp4, m4a and 3gp."""

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


async def decode(
    data: bytes,
    *,
    sample_rate: int,
    max_seconds: float,
    within_seconds: int,
    channel: int | None = None,
) -> NDArray[np.float32]:
    """Decode the first `max_seconds` of the first audio track to mono samples.

    All channels are mixed, unless `channel` selects one, counted from 0. `within_seconds` limits
    both the wall-clock time and the CPU time.

    If a file is truncated, its readable part is decoded. Samples are usually within -1 and 1, but a
    float file can contain any value, also NaN.

    Raises `Refusal` if no audio can be decoded, or if it takes too long. The process ends with the
    call, also when the call is cancelled.
    """
    max_bytes = round(max_seconds * sample_rate) * _BYTES_PER_SAMPLE
    program = await asyncio.to_thread(ffmpeg_path)
    with tempfile.TemporaryFile(buffering=0) as upload:
        await asyncio.to_thread(_fill, upload, memoryview(data)[_end_of_tags(data) :])
        process = await asyncio.create_subprocess_exec(
            *((*_LAUNCHER, str(within_seconds)) if _HAS_LIMITS else ()),
            program,
            *_arguments(sample_rate, max_seconds, channel),
            stdin=upload,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # ffmpeg would quote the upload's tags
            env={"MALLOC_ARENA_MAX": "1"},
        )
    try:
        async with asyncio.timeout(within_seconds + 0.5):
            decoded = await _read(process, max_bytes)
    except TimeoutError:
        raise Refusal(Reason.RECORDING_TOO_SLOW) from None
    finally:
        await _end(process)
    if process.returncode in _ENDED_BY_LIMIT:
        raise Refusal(Reason.RECORDING_TOO_SLOW)
    if not decoded:
        raise Refusal(Reason.NOT_A_RECORDING)
    return np.frombuffer(decoded, "<f4")


def _arguments(sample_rate: int, max_seconds: float, channel: int | None) -> list[str]:
    return [
        *("-nostdin", "-hide_banner", "-loglevel", "quiet", "-filter_threads", "1"),
        *("-protocol_whitelist", "fd", "-codec_whitelist", ",".join(_DECODERS)),
        *("-format_whitelist", ",".join(_DEMUXERS), "-formatprobesize", str(_PROBED_BYTES)),
        *("-threads", "1", "-vn", "-sn", "-dn", "-i", "fd:"),
        *("-map", "0:a:0", "-map_metadata", "-1", "-t", str(max_seconds)),
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
        end += _TAG_HEADER_BYTES + length
    return end


def _fill(file: IO[bytes], data: memoryview) -> None:
    while data:
        data = data[file.write(data) :]
    file.seek(0)


async def _read(process: Process, max_bytes: int) -> bytes:
    """Read the process's output until it ends, up to `max_bytes`, in whole samples."""
    assert process.stdout is not None  # noqa: S101 - it was started with a pipe
    decoded = bytearray()
    while part := await process.stdout.read(_READ_BYTES):
        decoded += part[: max_bytes - len(decoded)]
    await process.wait()
    return bytes(memoryview(decoded)[: len(decoded) // _BYTES_PER_SAMPLE * _BYTES_PER_SAMPLE])


async def _end(process: Process) -> None:
    """Kill the process if it still runs, and reap it.

    There is only one process: the launcher becomes ffmpeg by exec, and ffmpeg starts no others.
    """
    if process.returncode is None:
        process.kill()
        await process.communicate()
