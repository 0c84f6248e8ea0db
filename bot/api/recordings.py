"""The recordings that requests bring, and the consent that has to come with them."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from backend.contract import ConsentMissingError, ConsentRecord, ReferenceUnusableError
from backend.sent_audio import AudioTooLargeError, read_audio_file
from bot.api.errors import ApiError
from bot.voices.consent import EITHER_PERMISSION, STATEMENTS, Permission, confirm

if TYPE_CHECKING:
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
