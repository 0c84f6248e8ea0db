"""The recordings that requests bring, and the consent that has to come with them."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from datetime import UTC, date, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from backend.contract import ConsentMissingError, ConsentRecord, ReferenceUnusableError
from backend.sent_audio import AudioTooLargeError, is_address, read_audio_file
from bot.api.errors import ApiError
from bot.voices.consent import EITHER_PERMISSION, STATEMENTS, Permission, confirm

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.sent_audio import FetchAudio

WITHOUT_CONSENT = "REQUIRE_CONSENT=0"
"""The statement of a record where whoever runs the service has said that none is needed."""

_PERMISSIONS = {
    words: permission
    for permission in Permission
    for words in (permission.value, STATEMENTS[permission.statement_version].casefold())
}
_VERSIONS = dict.fromkeys(("true", STATEMENTS[EITHER_PERMISSION].casefold()), EITHER_PERMISSION)
"""What is as good as a permission: true confirms that it is one or the other."""


MOST_COUNTED = 10_000


class CountedRecordings:
    """The recordings that count against somebody's limits of today already.

    Programs that keep no voices send the same recording with each sentence. It counts once a day.
    What is kept of it is a hash with a key that nobody has, in memory alone.

    Args:
        today: Returns the day, in UTC.
    """

    def __init__(self, today: Callable[[], date] = lambda: datetime.now(UTC).date()) -> None:
        self._today = today
        self._key = secrets.token_bytes(32)
        self._counted: OrderedDict[bytes, date] = OrderedDict()

    async def mark_of(self, person: int, ref_audio: str) -> bytes | None:
        """Return what stands for a person's recording; None for an address, which may change."""
        if is_address(ref_audio):
            return None
        return await asyncio.to_thread(self._hash, f"{person} {ref_audio}")

    def holds(self, mark: bytes | None) -> bool:
        """Return whether a recording has counted today."""
        return mark is not None and self._counted.get(mark) == self._today()

    def add(self, mark: bytes | None) -> None:
        """Note that a recording has counted. The oldest are forgotten, and then count again."""
        if mark is None:
            return
        self._counted[mark] = self._today()
        self._counted.move_to_end(mark)
        if len(self._counted) > MOST_COUNTED:
            self._counted.popitem(last=False)

    def _hash(self, recording: str) -> bytes:
        return hashlib.blake2b(
            recording.encode(errors="replace"), key=self._key, digest_size=16
        ).digest()


async def read_ref_audio(ref_audio: str, fetch: FetchAudio) -> bytes:
    """Return the file in a request's `ref_audio`: base64, a data URL, or an https address.

    Raises `ApiError`.
    """
    try:
        return await read_audio_file(ref_audio, fetch)
    except ReferenceUnusableError as error:
        is_too_large = isinstance(error, AudioTooLargeError)
        raise ApiError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE if is_too_large else HTTPStatus.BAD_REQUEST,
            f"ref_audio can't be used: {error}. "
            "Send the recording as base64, or its public https address.",
            code="ref_audio_unusable",
            param="ref_audio",
        ) from None


def consent_of(person: int, consent: bool | str | None, *, is_required: bool) -> ConsentRecord:
    """Return the record of what a client confirms about a recording.

    Args:
        person: The Discord id of whoever confirms it.
        consent: A `Permission`; or true, or a statement to the letter.
        is_required: Whether there must be one. One that says no is refused in any case.

    Raises `ConsentMissingError`.
    """
    now = datetime.now(UTC)
    said = "" if consent is None else str(consent).strip().casefold()
    if said in _PERMISSIONS:
        return confirm(_PERMISSIONS[said], by=person, at=now)
    if said in _VERSIONS:
        return ConsentRecord(person, now, _VERSIONS[said])
    if not said and not is_required:
        return ConsentRecord(person, now, WITHOUT_CONSENT)
    raise ConsentMissingError("no known statement" if said else "nothing")


def audit_details(consent: ConsentRecord) -> str:
    """What the audit log says of a voice that was made over the API."""
    return f"api: {consent.statement_version}"
