"""The keys that encrypt what is sensitive in the database, and the form in which it is stored.

A stored value begins with the name of its key, eight hexadecimal digits and a colon. Then comes
what `nacl.secret.SecretBox` made of it: a random nonce, a code that tells damage, and the
ciphertext. The name `00000000` means no key. What is stored so has a checksum instead.
"""

from __future__ import annotations

import base64
import re
from hashlib import blake2b
from typing import TYPE_CHECKING

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox
from nacl.utils import random

from bot.errors import Reason
from bot.storage.errors import DatabaseFailedError
from bot.storage.location import DatabaseUnusableError

if TYPE_CHECKING:
    from collections.abc import Iterable

NO_KEY = "00000000"
"""The name of what is stored without encryption."""

HEADER_BYTES = len(NO_KEY) + 1

_PLAIN = "plain"
"""Written in the settings in place of a key, for no encryption."""

_CHECKSUM_BYTES = 16


class DamagedError(Exception):
    """What is stored isn't what was written."""


class KeyMissingError(DatabaseFailedError):
    """Something was encrypted with a key that the settings don't name."""

    def __init__(self, name: str) -> None:
        reason = Reason.DATABASE_NOT_READ
        super().__init__(reason, LookupError(f"STORAGE_KEYS lacks the key {name}"))


class Keys:
    """The keys that an operator has chosen. The first one writes, all of them read.

    Args:
        keys: Of 32 bytes each; None for no encryption.
    """

    def __init__(self, keys: Iterable[bytes | None] = ()) -> None:
        boxes = {_name(key): None if key is None else SecretBox(key) for key in keys}
        boxes.setdefault(NO_KEY, None)
        self._boxes = boxes
        self.writing = next(iter(boxes))
        """The name of the key that writes."""

    @property
    def encrypts(self) -> bool:
        """Whether what is written is encrypted."""
        return self.writing != NO_KEY

    def __contains__(self, name: str) -> bool:
        return name in self._boxes

    def seal(self, data: bytes) -> bytes:
        """Return data as it is stored."""
        box = self._boxes[self.writing]
        body = _checksum(data) + data if box is None else bytes(box.encrypt(data))
        return f"{self.writing}:".encode() + body

    def open(self, stored: bytes) -> bytes:
        """Return what was stored. Raises `DamagedError` and `KeyMissingError`."""
        body = stored[HEADER_BYTES:]
        box = self._box(key_name(stored))
        if box is None:
            checksum, data = body[:_CHECKSUM_BYTES], body[_CHECKSUM_BYTES:]
            if checksum != _checksum(data):
                raise DamagedError
            return data
        try:
            return box.decrypt(body)
        except (CryptoError, ValueError):
            raise DamagedError from None

    def seal_text(self, text: str) -> str:
        """Return a text as it is stored: readable without a key, and in base64 with one."""
        if self._boxes[self.writing] is None:
            return f"{NO_KEY}:{text}"
        sealed = self.seal(text.encode())
        encoded = base64.b64encode(sealed[HEADER_BYTES:]).decode()
        return f"{self.writing}:{encoded}"

    def open_text(self, stored: str) -> str:
        """Return the text that was stored. Raises `DamagedError` and `KeyMissingError`."""
        header, body = stored[:HEADER_BYTES].encode(), stored[HEADER_BYTES:]
        if self._box(key_name(header)) is None:
            return body
        try:
            return self.open(header + base64.b64decode(body, validate=True)).decode()
        except ValueError:  # not base64
            raise DamagedError from None

    def _box(self, name: str) -> SecretBox | None:
        if name not in self._boxes:
            raise KeyMissingError(name)
        return self._boxes[name]


def key_name(stored: bytes) -> str:
    """Return the name of the key that a stored value was written with. Raises `DamagedError`."""
    if not re.fullmatch(rb"[0-9a-f]{8}:", stored[:HEADER_BYTES]):
        raise DamagedError
    return stored[: HEADER_BYTES - 1].decode()


def new_key() -> str:
    """Return a new key, as it is written in the settings."""
    return base64.b64encode(random(SecretBox.KEY_SIZE)).decode()


def read_keys(setting: str) -> Keys:
    """Read keys as they are written in the settings, with commas or spaces between them.

    Raises `DatabaseUnusableError`, which tells which key is wrong, and not what it is.
    """
    written = re.split(r"[\s,]+", setting.strip()) if setting.strip() else []
    return Keys(_key(number, text) for number, text in enumerate(written, start=1))


def _key(number: int, written: str) -> bytes | None:
    if written == _PLAIN:
        return None
    try:
        key = base64.b64decode(written.translate(str.maketrans("-_", "+/")), validate=True)
    except ValueError:  # not base64, or not even ASCII
        key = b""
    if len(key) != SecretBox.KEY_SIZE:
        raise DatabaseUnusableError(
            f"STORAGE_KEYS: entry {number} isn't a key. A key is {SecretBox.KEY_SIZE} bytes in "
            "base64. Make one with: .venv/bin/python -m bot new-key"
        )
    return key


def _name(key: bytes | None) -> str:
    return NO_KEY if key is None else blake2b(key, digest_size=4, person=b"key name").hexdigest()


def _checksum(data: bytes) -> bytes:
    return blake2b(data, digest_size=_CHECKSUM_BYTES).digest()
