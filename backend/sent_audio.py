"""An audio file in the forms in which callers send one: bytes, base64, a data URL, or an address.

The bot's HTTP API reads the same forms with this.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable

from backend.contract import ReferenceUnusableError

MAX_AUDIO_BYTES = 16 * 1024 * 1024
"""The largest file, whichever way it comes: 30 s in stereo at 48 kHz and 32 bits have 11 MiB."""

MAX_ADDRESS_CHARACTERS = 2_048
MAX_BASE64_CHARACTERS = 4 * -(-MAX_AUDIO_BYTES // 3)

FetchAudio = Callable[[str], Awaitable[bytes]]
"""Downloads the file at an address, or raises `ReferenceUnusableError`."""


class AudioTooLargeError(ReferenceUnusableError):
    """The file has more than `MAX_AUDIO_BYTES`."""

    def __init__(self) -> None:
        super().__init__(f"it has more than {MAX_AUDIO_BYTES >> 20} MiB")


def is_address(audio: str) -> bool:
    """Whether a text is the address of a recording, and not the recording itself."""
    return "://" in audio[:MAX_ADDRESS_CHARACTERS]


async def read_audio_file(audio: bytes | str, fetch: FetchAudio) -> bytes:
    """Get the bytes of an audio file, at most `MAX_AUDIO_BYTES`, in any form that callers send.

    Raises `ReferenceUnusableError`.
    """
    if isinstance(audio, bytes | bytearray | memoryview):
        file = bytes(audio)
    elif not isinstance(audio, str):
        raise ReferenceUnusableError("it is neither bytes nor a text")
    elif is_address(audio):
        file = await fetch(audio)
    else:
        file = await asyncio.to_thread(_from_base64, audio)
    if not file:
        raise ReferenceUnusableError("it is empty")
    if len(file) > MAX_AUDIO_BYTES:
        raise AudioTooLargeError
    return file


def _from_base64(text: str) -> bytes:
    """Decode base64, alone or in a data URL (RFC 2397), whose media type is not looked at."""
    if text[:5].lower() == "data:":
        header, _, text = text.rpartition(",")  # the header may hold a comma, base64 cannot
        if not header.lower().endswith(";base64"):
            raise ReferenceUnusableError("its data URL is not base64")
    if len(text) > MAX_BASE64_CHARACTERS:
        raise AudioTooLargeError
    try:
        return base64.b64decode("".join(text.split()), validate=True)  # encoders may wrap lines
    except (binascii.Error, ValueError):
        raise ReferenceUnusableError("its text is neither base64 nor an address") from None
