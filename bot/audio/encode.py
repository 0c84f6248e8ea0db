"""Encodes speech to files within Discord's upload limit. Only this module uses pydub."""

from __future__ import annotations

import asyncio
import tempfile
import warnings
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from io import BytesIO
from math import ceil
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

from bot.audio.decode import ffmpeg_path
from bot.audio.temporary import private_folder

with warnings.catch_warnings():
    # pydub warns if there is no ffmpeg on PATH, but every export here names its own ffmpeg. Python
    # warns of unescaped backslashes in pydub's source when it first compiles it.
    warnings.filterwarnings("ignore", "Couldn't find ffmpeg or avconv", RuntimeWarning)
    warnings.filterwarnings("ignore", "invalid escape sequence", DeprecationWarning)
    warnings.filterwarnings("ignore", "invalid escape sequence", SyntaxWarning)
    from pydub import AudioSegment, audio_segment
    from pydub.exceptions import CouldntEncodeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

MIN_LIMIT_BYTES = 8 * 1024
"""The smallest limit that is accepted. Below it, a part would be shorter than a word."""

MAX_FILE_SECONDS = 1_800
"""The longest speech in one file. Longer speech becomes several, whatever their size."""

_WAVEFORM_MAX_POINTS = 256
_WAVEFORM_SECONDS_PER_POINT = 0.1
"""The finest resolution, which is used for short speech."""

_WAVEFORM_LOUDEST = 255
_ENCODER_CPU_SECONDS = 120
_SHORTEST_SECONDS = 0.02
_QUIET_SECONDS = 0.02
_DENSITY_MARGIN = 0.95
"""Parts are planned for this share of the size limit, because some passages take more bytes."""
_CUT_MARGIN = 0.9
"""Parts are planned for this share of the longest part, to leave room for choosing a cut."""


class AudioFormat(StrEnum):
    """The file formats for speech. The value is the file's extension."""

    OGG = "ogg"
    MP3 = "mp3"
    WAV = "wav"
    FLAC = "flac"


class SpeechEncodingError(Exception):
    """The encoder failed, or took too long."""


@dataclass(frozen=True, slots=True)
class SpeechFile:
    """A file to attach to a reply.

    Attributes:
        name: The file's name, with its extension.
        data: The file's bytes; never more than the limit that was given.
        seconds: The length of the speech in it.
    """

    name: str
    data: bytes = field(repr=False)
    seconds: float


@dataclass(frozen=True, slots=True)
class _Encoder:
    """How ffmpeg writes one format.

    Attributes:
        codec: ffmpeg's name of the codec, or None if pydub writes the file without ffmpeg.
        bit_rates: In kbit/s, best first; empty for lossless formats.
        options: More ffmpeg output options.
    """

    codec: str | None
    bit_rates: tuple[int, ...] = ()
    options: tuple[str, ...] = ()


_ENCODERS = {
    # Opus is decoded at 48 kHz whatever the input's rate was (RFC 7845, section 5.1). "audio" is
    # closer to the original than "voip", which filters it: for our test speech, the signal-to-noise
    # ratio is 25 dB against 12 dB at 64 kbit/s, and 14 dB against 9 dB at 16 kbit/s.
    AudioFormat.OGG: _Encoder(
        "libopus", (64, 48, 32, 24, 16), ("-ar", "48000", "-application", "audio")
    ),
    AudioFormat.MP3: _Encoder("libmp3lame", (128, 96, 64, 48, 32)),
    AudioFormat.WAV: _Encoder(None),
    # By default, ffmpeg reserves 8 KiB for tags.
    AudioFormat.FLAC: _Encoder("flac", options=("-metadata_header_padding", "0")),
}


async def encode_speech(  # noqa: PLR0913 - two describe the speech, four its files
    pcm: bytes,
    sample_rate: int,
    audio_format: AudioFormat,
    *,
    limit_bytes: int,
    stem: str,
    breaks: Sequence[int] = (),
    parts_before: int = 0,
) -> list[SpeechFile]:
    """Encode speech to one or more files, each within `limit_bytes`.

    Speech that does not fit is encoded at a lower bit rate. If that is not enough, it is split at
    pauses into several files, as is speech of more than `MAX_FILE_SECONDS`. The work is done in a
    thread; the caller limits how many run at once.

    Args:
        pcm: Mono s16le.
        sample_rate: The sample rate of `pcm`, in Hz.
        audio_format: The format of the files.
        limit_bytes: The size that Discord accepts (`interaction.filesize_limit`).
        stem: The files' name without extension: "speech" gives "speech.ogg" or, in three parts,
            "speech-1-of-3.ogg" and so on.
        breaks: Where to cut if that is necessary, as sample indices in the pauses between
            sentences. If none is near enough, the quietest moment is used.
        parts_before: How many parts of the same speech were made earlier. The names count on from
            there: "speech-3-of-5.ogg".

    Raises `ValueError` for no audio, half a sample, or a limit under `MIN_LIMIT_BYTES`, and
    `SpeechEncodingError` if the encoder fails.
    """
    if not pcm or len(pcm) % 2:
        raise ValueError("pcm must hold whole 16-bit samples, and at least one")
    if limit_bytes < MIN_LIMIT_BYTES:
        raise ValueError(f"no sensible file fits {limit_bytes} bytes")
    # Encoders drop or reject audio that is shorter than one of their frames.
    samples = np.frombuffer(pcm.ljust(2 * ceil(sample_rate * _SHORTEST_SECONDS), b"\0"), "<i2")
    speech = _Speech(samples, sample_rate, audio_format, limit_bytes, breaks)
    parts = await asyncio.to_thread(lambda: list(speech.parts(0, len(samples))))
    count = parts_before + len(parts)
    return [
        SpeechFile(_name(stem, audio_format, number, count), data, length / sample_rate)
        for number, (length, data) in enumerate(parts, start=parts_before + 1)
    ]


def waveform(pcm: bytes, sample_rate: int) -> bytes:
    """Compute the loudness over time that Discord draws beside the play button.

    There is a byte for each point, 0 for silence and 255 for the loudest point. Takes some 10 ms
    for a minute of speech. Raises `ValueError` for no audio.

    Args:
        pcm: Mono s16le samples.
        sample_rate: In Hz.
    """
    samples = np.frombuffer(pcm, "<i2")
    if not len(samples):
        raise ValueError("there is nothing to draw")
    wanted = round(len(samples) / sample_rate / _WAVEFORM_SECONDS_PER_POINT)
    points = min(max(wanted, 1), _WAVEFORM_MAX_POINTS, len(samples))
    starts = np.arange(points) * len(samples) // points
    power = np.square(samples, dtype=np.float32)
    lengths = np.diff(starts, append=len(samples))
    loudness = np.sqrt(np.add.reduceat(power, starts) / lengths)
    return bytes((loudness * _WAVEFORM_LOUDEST / max(1.0, loudness.max())).round().astype(np.uint8))


def _name(stem: str, audio_format: AudioFormat, number: int, count: int) -> str:
    part = "" if count == 1 else f"-{number}-of-{count}"
    return f"{stem}{part}.{audio_format}"


@dataclass(frozen=True, slots=True)
class _Speech:
    """Speech to encode, with how to encode it. Positions are sample indices."""

    samples: NDArray[np.int16]
    sample_rate: int
    audio_format: AudioFormat
    limit_bytes: int
    breaks: Sequence[int]

    def parts(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Encode a stretch as one file or, if it does not fit, as several.

        Yields the number of samples in each file, and the file's bytes.
        """
        longest = MAX_FILE_SECONDS * self.sample_rate
        if end - start <= longest:
            data = self._encode(start, end)
            if len(data) <= self.limit_bytes:
                yield end - start, data
                return
            fitting = (end - start) * self.limit_bytes / len(data)
            longest = int(fitting * _DENSITY_MARGIN)
        for part_start, part_end in self._spans(start, end, longest):
            yield from self.parts(part_start, part_end)

    def _encode(self, start: int, end: int) -> bytes:
        """Encode at the best bit rate that fits, or else at the lowest."""
        rates = _ENCODERS[self.audio_format].bit_rates
        if not rates:
            return self._export(start, end)
        seconds = (end - start) / self.sample_rate
        likely = [rate for rate in rates if _predicted_bytes(rate, seconds) <= self.limit_bytes]
        data = b""
        for rate in likely or rates[-1:]:
            data = self._export(start, end, rate)
            if len(data) <= self.limit_bytes:
                break
        return data

    def _export(self, start: int, end: int, bit_rate: int | None = None) -> bytes:
        segment = AudioSegment(
            data=self.samples[start:end].tobytes(),
            sample_width=2,
            frame_rate=self.sample_rate,
            channels=1,
        )
        encoder = _ENCODERS[self.audio_format]
        file = BytesIO()
        if encoder.codec is None:
            segment.export(file, format=self.audio_format.value)
            return file.getvalue()
        # pydub waits for ffmpeg without a timeout, so ffmpeg itself gets a limit.
        limits = ("-threads", "1", "-timelimit", str(_ENCODER_CPU_SECONDS))
        try:
            segment.converter = ffmpeg_path()
            with private_folder() as folder, _files_of_pydub_in(folder):
                segment.export(
                    file,
                    format=self.audio_format.value,
                    codec=encoder.codec,
                    bitrate=None if bit_rate is None else f"{bit_rate}k",
                    parameters=[*encoder.options, *limits],
                )
        except (CouldntEncodeError, OSError, RuntimeError) as error:
            raise SpeechEncodingError(f"no {self.audio_format} could be made") from error
        return file.getvalue()

    def _spans(self, start: int, end: int, longest: int) -> Iterator[tuple[int, int]]:
        """Split a stretch into pieces of similar length, none over `longest`."""
        count = ceil((end - start) / (longest * _CUT_MARGIN))
        for left in range(count, 1, -1):
            rest = end - start
            even = rest // left
            earliest = max(even // 2, rest - (left - 1) * longest)
            latest = min(even + even // 2, longest)
            cut = self._cut(start + earliest, start + even, start + latest)
            yield start, cut
            start = cut
        yield start, end

    def _cut(self, earliest: int, wanted: int, latest: int) -> int:
        """Return where to cut: at the break nearest to `wanted`, or else the quietest moment."""
        in_reach = [position for position in self.breaks if earliest <= position <= latest]
        if in_reach:
            return min(in_reach, key=lambda position: abs(position - wanted))
        width = ceil(self.sample_rate * _QUIET_SECONDS)
        moments = (latest - earliest) // width
        if not moments:
            return wanted
        reach = self.samples[earliest : earliest + moments * width].reshape(moments, width)
        power = np.square(reach, dtype=np.float32).mean(axis=1)
        return earliest + int(power.argmin()) * width + width // 2


def _predicted_bytes(bit_rate: int, seconds: float) -> float:
    """An upper estimate of a file's size.

    Opus with a variable bit rate exceeded its target by up to 5 % for speech. Ogg adds some 60
    bytes a second and less than a kilobyte of headers.
    """
    return bit_rate * 1_000 / 8 * seconds * 1.05 + 100 * seconds + 1_000


@dataclass(frozen=True, slots=True)
class _FilesOfPydub:
    """The temporary files of one export: where they are made, and those that were made."""

    folder: Path
    opened: list[IO[bytes]] = field(default_factory=list)


_files_of_pydub: ContextVar[_FilesOfPydub | None] = ContextVar("_files_of_pydub", default=None)


def _open_in_folder(mode: str, *, delete: bool) -> IO[bytes]:
    """Stand in for `NamedTemporaryFile` in pydub, which never deletes the files of a failure."""
    files = _files_of_pydub.get()
    if files is None:
        raise RuntimeError("pydub makes temporary files only for an export of this module")
    file: Any = tempfile.NamedTemporaryFile(mode, dir=files.folder, delete=delete)  # noqa: SIM115 - closed by `_files_of_pydub_in`
    files.opened.append(file)
    return cast("IO[bytes]", file)


audio_segment.NamedTemporaryFile = _open_in_folder


@contextmanager
def _files_of_pydub_in(folder: Path) -> Iterator[None]:
    """Have pydub make its temporary files in a folder, and close them all at the end."""
    files = _FilesOfPydub(folder)
    token = _files_of_pydub.set(files)
    try:
        yield
    finally:
        _files_of_pydub.reset(token)
        for file in files.opened:
            file.close()
