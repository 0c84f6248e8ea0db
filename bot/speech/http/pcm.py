"""Turns the bytes of a streamed answer into samples, whatever pieces they come in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.contract import GenerationFailedError
from bot.speech.errors import SpeechInterruptedError

if TYPE_CHECKING:
    from collections.abc import Mapping

USUAL_SAMPLE_RATE = 24_000
"""What OpenAI's `pcm` has, and Qwen3-TTS speaks: https://platform.openai.com/docs/guides/text-to-speech"""

RATE_HEADERS = ("x-sample-rate", "x-audio-sample-rate")
"""In these, some servers say the sample rate of raw samples. Others say it in the content type."""

_LOWEST_RATE, _HIGHEST_RATE = 8_000, 192_000
_SAMPLE_BYTES = 2
_MOST_HEADER_BYTES = 4_096
_CHUNK_HEAD = 8
_PCM_FORMATS = (1, 0xFFFE)  # plain, and the form with an extension
_NO_LENGTH = 0x7FFFFFFF
"""Where a WAV file is still being made, its header says 0, or more than fits into a file."""


@dataclass(frozen=True, slots=True)
class _WavHeader:
    """What the beginning of a WAV file says.

    Attributes:
        length: Its own bytes; the samples follow.
        sample_rate: In Hz.
        data_bytes: How many bytes of samples follow, or None if the file does not say.
    """

    length: int
    sample_rate: int
    data_bytes: int | None


class PcmReader:
    """Reads 16-bit mono samples, bare or in a WAV file, that come in pieces of any length.

    Args:
        media_type: The answer's content type.
        headers: The answer's headers, by their names in lower case.

    Attributes:
        sample_rate: In Hz. A WAV file's is known once its header has come.

    Raises `GenerationFailedError` for anything else than such samples.
    """

    def __init__(self, media_type: str, headers: Mapping[str, str]) -> None:
        self.sample_rate = _checked_rate(_stated_rate(media_type, headers))
        self._kept = b""
        self._is_begun = False
        self._left: int | None = None

    def push(self, piece: bytes) -> bytes:
        """Take the next bytes; return the whole samples that have come, possibly none."""
        data = self._kept + piece
        if not self._is_begun:
            header = _read_header(data)
            if header is None:  # more of it has to come
                self._kept = data
                return b""
            self._is_begun = True
            if header.length:
                self.sample_rate, self._left = header.sample_rate, header.data_bytes
                data = data[header.length :]
        if self._left is not None:  # what follows the samples is about the file
            data = data[: self._left]
        whole = len(data) - len(data) % _SAMPLE_BYTES
        self._kept = data[whole:]
        if self._left is not None:
            self._left -= whole
            if not self._left:
                self._kept = b""
        return data[:whole]

    def finish(self) -> None:
        """Raise `SpeechInterruptedError` if the answer ended in the middle of something."""
        if self._kept or (self._left or 0) > 0:
            raise SpeechInterruptedError("the answer ends in the middle")


def _stated_rate(media_type: str, headers: Mapping[str, str]) -> str:
    """The sample rate that an answer states, as in `audio/pcm;rate=24000`."""
    for part in media_type.lower().split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip() == "rate":
            return value.strip(' "')
    stated = (headers[name] for name in RATE_HEADERS if name in headers)
    return next(stated, str(USUAL_SAMPLE_RATE)).strip()


def _checked_rate(stated: str) -> int:
    if stated.isascii() and stated.isdecimal() and len(stated) < len(str(_HIGHEST_RATE)) + 1:
        rate = int(stated)
        if _LOWEST_RATE <= rate <= _HIGHEST_RATE:
            return rate
    raise GenerationFailedError("the answer has no sample rate that can be used")


def _read_header(data: bytes) -> _WavHeader | None:
    """Read the header of a WAV file. None: more of it has to come. Of bare samples, it is empty."""
    if not data.startswith(b"RIFF"):
        return None if b"RIFF".startswith(data) else _WavHeader(0, 0, None)
    position, sample_rate = 12, 0
    while len(data) >= position + _CHUNK_HEAD:
        name = data[position : position + 4]
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        begin = position + _CHUNK_HEAD
        if name == b"data":
            if not sample_rate:
                break
            known = 0 < length < _NO_LENGTH - begin
            return _WavHeader(begin, sample_rate, length if known else None)
        if name == b"fmt ":
            if len(data) < begin + 16:
                return None
            sample_rate = _rate_of(data[begin : begin + 16])
        position = begin + length + length % 2
        if position > _MOST_HEADER_BYTES:
            break
    else:
        if len(data) <= _MOST_HEADER_BYTES:
            return None
    raise GenerationFailedError("the answer begins like a WAV file, and isn't one")


def _rate_of(description: bytes) -> int:
    """Read the format of a WAV file's samples; return their rate."""
    kind, channels = (int.from_bytes(description[at : at + 2], "little") for at in (0, 2))
    bits = int.from_bytes(description[14:16], "little")
    if kind not in _PCM_FORMATS or channels != 1 or bits != 8 * _SAMPLE_BYTES:
        raise GenerationFailedError("the answer's samples are not 16-bit mono")
    return _checked_rate(str(int.from_bytes(description[4:8], "little")))
