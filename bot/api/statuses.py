"""The HTTP status of each refusal and each error of the voice engine, and the field at fault."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from backend import contract
from backend.contract import SpeechError
from bot.errors import Reason, Refusal
from bot.speech import errors as speech_errors

RECORDING = "the recording"
"""Stands for the field that holds the recording, which has another name in each route."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of refusal or error is over HTTP.

    Attributes:
        status: The HTTP status.
        param: The field that is wrong, if one is.
    """

    status: HTTPStatus
    param: str | None = None


_BAD = HTTPStatus.BAD_REQUEST
_FULL = HTTPStatus.SERVICE_UNAVAILABLE
_LIMITED = HTTPStatus.TOO_MANY_REQUESTS

_REFUSALS: dict[Reason, Kind] = {
    **dict.fromkeys(
        (Reason.TEXT_TOO_LONG, Reason.TEXT_TOO_LONG_SPOKEN, Reason.NOTHING_TO_SAY),
        Kind(_BAD, "input"),
    ),
    Reason.LONGER_THAN_A_DAY: Kind(_BAD, "input"),
    **dict.fromkeys(
        (
            Reason.UPLOAD_EMPTY,
            Reason.UPLOAD_NOT_FETCHED,
            Reason.NOT_A_RECORDING,
            Reason.RECORDING_KIND_UNKNOWN,
            Reason.RECORDING_TOO_SLOW,
            Reason.RECORDING_DAMAGED,
            Reason.RECORDING_SILENT,
            Reason.NO_SPEECH,
            Reason.TOO_LITTLE_SPEECH,
            Reason.MOSTLY_PAUSES,
            Reason.TOO_LITTLE_SPEECH_IN_LONG_RECORDING,
            Reason.TOO_LONG_FOR_TRANSCRIPT,
            Reason.MUCH_TOO_LONG_FOR_TRANSCRIPT,
        ),
        Kind(_BAD, RECORDING),
    ),
    Reason.UPLOAD_TOO_LARGE: Kind(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, RECORDING),
    **dict.fromkeys(
        (
            Reason.NAME_EMPTY,
            Reason.NAME_TOO_LONG,
            Reason.NAME_HIDES_CHARACTERS,
            Reason.NAME_INVISIBLE,
            Reason.NAME_TAKEN,
        ),
        Kind(_BAD, "name"),
    ),
    **dict.fromkeys(
        (
            Reason.NO_SUCH_VOICE,
            Reason.NO_VOICE_YET,
            Reason.VOICE_DELETED,
            Reason.VOICE_DELETED_MEANWHILE,
            Reason.VOICE_NOT_SHARED,
            Reason.VOICE_UNSHARED_MEANWHILE,
            Reason.DEFAULT_NOT_SHARED,
            Reason.LAST_NOT_SHARED,
        ),
        Kind(HTTPStatus.NOT_FOUND, "voice"),
    ),
    Reason.SEVERAL_VOICES: Kind(_BAD, "voice"),
    **dict.fromkeys((Reason.BLOCKED_HERE, Reason.BLOCKED_EVERYWHERE), Kind(HTTPStatus.FORBIDDEN)),
    **dict.fromkeys(
        (
            Reason.VOICE_FROZEN,
            Reason.VOICE_FROZEN_HERE,
            Reason.VOICE_REMOVED,
            Reason.VOICE_REMOVED_HERE,
            Reason.VOICE_OWNER_BLOCKED,
            Reason.OTHERS_CONSENT_NOT_SPOKEN,
        ),
        Kind(HTTPStatus.FORBIDDEN, "voice"),
    ),
    **dict.fromkeys(
        (
            Reason.TOO_MANY_COMMANDS,
            Reason.TOO_MANY_REQUESTS,
            Reason.OWN_SPEECH_USED_UP,
            Reason.OWN_SPEECH_TOO_LITTLE,
            Reason.SERVER_BUSY,
            Reason.SERVER_SPEECH_USED_UP,
            Reason.SERVER_SPEECH_TOO_LITTLE,
            Reason.ALL_SPEECH_USED_UP,
            Reason.ALL_SPEECH_TOO_LITTLE,
        ),
        Kind(_LIMITED),
    ),
    **dict.fromkeys(
        (
            Reason.TOO_MANY_UPLOADS,
            Reason.DECODER_BROKEN,
            Reason.DATABASE_NOT_READ,
            Reason.DATABASE_NOT_WRITTEN,
            Reason.RECORDING_REPLACED,
            Reason.RESTARTING,
        ),
        Kind(_FULL),
    ),
}
"""Every other refusal is a bad request."""

_SPEECH_ERRORS: dict[type[SpeechError], Kind] = {
    SpeechError: Kind(HTTPStatus.INTERNAL_SERVER_ERROR),
    contract.LanguageNotSupportedError: Kind(_BAD, "language"),
    contract.TextNotSpeakableError: Kind(_BAD, "input"),
    contract.ConsentMissingError: Kind(_BAD, "consent"),
    contract.ReferenceUnusableError: Kind(_BAD, RECORDING),
    contract.BackendBusyError: Kind(_FULL),
    contract.BackendUnavailableError: Kind(_FULL),
    speech_errors.SpeechTimeoutError: Kind(HTTPStatus.GATEWAY_TIMEOUT),
    speech_errors.SpeechInterruptedError: Kind(_FULL),
}
"""Any other kind is its nearest base class's."""


def of_refusal(refusal: Refusal) -> Kind:
    """Return what a refusal is over HTTP."""
    return _REFUSALS.get(refusal.reason, Kind(_BAD))


def of_speech_error(error: SpeechError) -> Kind:
    """Return what an error of the voice engine is over HTTP."""
    kinds = type(error).__mro__
    return next(_SPEECH_ERRORS[each] for each in kinds if each in _SPEECH_ERRORS)
