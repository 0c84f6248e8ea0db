"""What a server's refusals and broken connections mean.

The envelope is OpenAI's: `{"error": {"message", "type", "param", "code"}}`. Messages may quote what
was sent, so they are never logged, and only what is known of them counts.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp

from backend.contract import (
    BackendBusyError,
    ConsentMissingError,
    GenerationFailedError,
    LanguageNotSupportedError,
    ReferenceUnusableError,
    SpeechError,
    TextNotSpeakableError,
)
from bot.speech.errors import (
    BackendBrokenError,
    BackendDeniesError,
    BackendQuotaError,
    BackendUnreachableError,
    SpeechInterruptedError,
    SpeechStuckError,
    SpeechTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ANSWER_WITHIN_SECONDS = 240.0
"""The longest that a server may work on one sentence."""

LONGEST_WAIT_SECONDS = 600.0
"""Who has to wait for longer has used up a quota, and is not merely one of many."""

_MAX_WORD = 60
_WORD = re.compile(r"[\w.\[\]-]+", re.ASCII)
_NO_BASE_MODEL = re.compile(r"checkpoint does not support task_type|model does not support")
"""What vLLM-Omni says if its model does not clone: docs/serving/speech_api.md, Error Responses."""

_BY_CODE: dict[str, Callable[[str], SpeechError]] = {
    "reference_unusable": ReferenceUnusableError,
    "text_not_speakable": TextNotSpeakableError,
    "consent_missing": ConsentMissingError,
    "generation_failed": GenerationFailedError,
    "speech_runs_on": GenerationFailedError,
    "backend_quota": BackendQuotaError,
    "backend_unreachable": BackendUnreachableError,
    "backend_denies": BackendBrokenError,
    "backend_not_deployed": BackendBrokenError,
    "backend_broken": BackendBrokenError,
    "speech_interrupted": SpeechInterruptedError,
    "speech_stuck": SpeechStuckError,
    "insufficient_quota": BackendQuotaError,  # OpenAI's own
}
"""The codes of Timbre's own API, which are the names of its errors."""

_BY_FIELD: dict[str, Callable[[str], SpeechError]] = {
    "input": TextNotSpeakableError,
    "ref_audio": ReferenceUnusableError,
    "ref_text": ReferenceUnusableError,
    "consent": ConsentMissingError,
}


_MEANINGS: tuple[tuple[tuple[type[Exception], ...], Callable[[str], SpeechError], str], ...] = (
    ((aiohttp.InvalidURL,), BackendBrokenError, "SPEECH_URL is no address"),
    (
        (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError),
        BackendBrokenError,
        "the server's certificate isn't valid",
    ),
    ((aiohttp.ClientConnectorError,), BackendUnreachableError, "no connection to the server"),
    # after the first bytes, where the answer isn't HTTP any more, or not whole
    (
        (aiohttp.ClientResponseError, aiohttp.ClientPayloadError),
        SpeechInterruptedError,
        "the answer was cut off",
    ),
    ((aiohttp.ClientError, OSError), BackendUnreachableError, "the connection broke"),
)


@dataclass(frozen=True, slots=True)
class Refused:
    """A server's answer that is no speech.

    Attributes:
        status: The HTTP status.
        code: Its word for programs; "" if there is none.
        param: The field that it complains about; "" if it names none.
        message: Its words for people. They may quote the request.
        is_envelope: Whether the server itself said this, and not a proxy before it.
        retry_after: In how many seconds the server wants to be asked again; None if it is not said.
    """

    status: int
    code: str = ""
    param: str = ""
    message: str = field(default="", repr=False)
    is_envelope: bool = False
    retry_after: float | None = None

    @classmethod
    def read(cls, status: int, headers: Mapping[str, str], body: bytes) -> Refused:
        """Read an answer, which may be anything."""
        error: Any = None
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict):
            error = document.get("error", document.get("detail"))
        if not isinstance(error, dict):
            return cls(status, is_envelope=error is not None, retry_after=_seconds(headers))
        return cls(
            status,
            code=_word(error.get("code")),
            param=_word(error.get("param")),
            message=str(error.get("message", ""))[: _MAX_WORD * 10],
            is_envelope=True,
            retry_after=_seconds(headers),
        )

    @property
    def is_unknown_model(self) -> bool:
        """Whether the server has no model of the name that was asked for."""
        return self.status == HTTPStatus.NOT_FOUND and "model" in {
            self.param,
            *self.code.split("_"),
        }

    def __str__(self) -> str:
        """Say for the log what it is, without the message."""
        about = [f"status {self.status}"]
        about += [f"code {self.code}"] if self.code else []
        about += [f"field {self.param}"] if self.param else []
        return ", ".join(about)


def explain(refused: Refused, languages: tuple[str, ...], language: str) -> SpeechError:
    """Say what a refusal means.

    Args:
        refused: The server's answer.
        languages: What the server speaks.
        language: What it was asked to speak.
    """
    known = _BY_CODE.get(refused.code)
    match refused.status:
        case _ if known is not None:
            return known(str(refused))
        case HTTPStatus.BAD_REQUEST | HTTPStatus.UNPROCESSABLE_ENTITY:
            return _explain_bad_request(refused, languages, language)
        case HTTPStatus.TOO_MANY_REQUESTS:
            is_used_up = (refused.retry_after or 0) > LONGEST_WAIT_SECONDS
            return BackendQuotaError(str(refused)) if is_used_up else _busy(refused)
        case status if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return _explain_failure(refused)
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return BackendDeniesError(f"the server refuses SPEECH_API_KEY ({refused})")
        case _:
            return BackendBrokenError(f"{_what_is_wrong(refused)} ({refused})")


def _explain_failure(refused: Refused) -> SpeechError:
    """Say what a status from 500 on means: the server's own, or that of a proxy before it."""
    match refused.status:
        case HTTPStatus.SERVICE_UNAVAILABLE if refused.is_envelope or refused.retry_after:
            return _busy(refused)
        case HTTPStatus.GATEWAY_TIMEOUT if refused.is_envelope:
            return SpeechTimeoutError(ANSWER_WITHIN_SECONDS)
        case HTTPStatus.BAD_GATEWAY | HTTPStatus.SERVICE_UNAVAILABLE | HTTPStatus.GATEWAY_TIMEOUT:
            return BackendUnreachableError(f"a proxy doesn't reach the server ({refused})")
        case _:
            return GenerationFailedError(str(refused))


def _busy(refused: Refused) -> SpeechError:
    return BackendBusyError(refused.retry_after)


def _what_is_wrong(refused: Refused) -> str:
    """Say what whoever runs the bot has to look at."""
    if refused.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return "the server, or a proxy before it, takes no request of 2 MB"
    if refused.is_unknown_model:
        return "the server has no model of the name in MODEL_ID"
    if refused.status < HTTPStatus.BAD_REQUEST:
        return "SPEECH_URL leads to another address"
    return "there is no speech API at SPEECH_URL"


def _explain_bad_request(
    refused: Refused, languages: tuple[str, ...], language: str
) -> SpeechError:
    known = _BY_FIELD.get(refused.param)
    if known is not None:
        return known(str(refused))
    if refused.param == "language":
        return LanguageNotSupportedError(language, languages)
    if refused.param in {"model", "voice"} or _NO_BASE_MODEL.search(refused.message):
        hint = {"voice": "it wants SPEECH_VOICE", "model": "it wants MODEL_ID"}.get(
            refused.param, "its model doesn't clone: it needs a Base checkpoint"
        )
        return BackendBrokenError(f"{hint} ({refused})")
    return GenerationFailedError(str(refused))


def translate(error: BaseException) -> SpeechError:
    """Say what an error of aiohttp means. Its message may name the server, so it is left out."""
    if isinstance(error, SpeechError):
        return error
    for kinds, meaning, words in _MEANINGS:
        if isinstance(error, kinds):
            return meaning(f"{words} ({type(error).__name__})")
    return BackendBrokenError(f"the call failed with {type(error).__name__}")


def _word(value: object) -> str:
    """A code or the name of a field, if it is one; anything else may quote the request."""
    word = value if isinstance(value, str) else ""
    return word if len(word) <= _MAX_WORD and _WORD.fullmatch(word) else ""


def _seconds(headers: Mapping[str, str]) -> float | None:
    """Read `Retry-After`, if it is a number of seconds. As a date it is left out."""
    value = headers.get("retry-after", "").strip()
    is_number = value.isascii() and value.replace(".", "", 1).isdecimal() and len(value) < _MAX_WORD
    return float(value) if is_number else None
