"""Errors in the form that OpenAI's API has, with the status that says what a client can do.

https://platform.openai.com/docs/guides/error-codes
"""

from __future__ import annotations

import logging
import math
import re
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from backend import contract
from backend.contract import SpeechError
from bot.api.statuses import RECORDING, of_refusal, of_speech_error
from bot.errors import Refusal
from bot.interface.wording.api import explain_to_client

if TYPE_CHECKING:
    from fastapi.exceptions import RequestValidationError

log = structlog.get_logger(__name__)

RETRY_SOON_SECONDS = 5
CLIENTS_WAIT_SECONDS = 60
"""OpenAI's clients try again by themselves. They wait for so long at most, and then ask too early,
unless they are told not to."""

_MAY_WORK_LATER = {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}


class ApiError(Exception):
    """Something that a client is told, with everything that is said of it.

    Args:
        status: The HTTP status.
        message: A sentence for whoever wrote the client.
        code: A word for programs.
        param: The field of the request that is wrong, if one is.
        retry_after: In how many seconds it may work, if that is known.
    """

    def __init__(
        self,
        status: HTTPStatus,
        message: str,
        *,
        code: str,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(code)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        """Return the envelope."""
        return {
            "error": {
                "message": self.message,
                "type": _type_of(self.status),
                "param": self.param,
                "code": self.code,
            }
        }

    def response(self) -> JSONResponse:
        """Return the answer."""
        headers = {}
        if self.retry_after is not None:
            seconds = max(1, math.ceil(self.retry_after))
            headers["retry-after"] = str(seconds)
            if seconds > CLIENTS_WAIT_SECONDS:
                headers["x-should-retry"] = "false"
        if self.status is HTTPStatus.UNAUTHORIZED:
            headers["www-authenticate"] = "Bearer"
        return JSONResponse(self.body(), status_code=self.status, headers=headers)


def api_error(error: Exception, *, recording: str | None, request_id: str) -> ApiError:
    """Return what a client is told about any error, and log what the operator has to know.

    Args:
        error: What left a route.
        recording: The field that holds the recording, if there is one.
        request_id: Names the request, in the log and to the client.
    """
    match error:
        case ApiError():
            return error
        case Refusal():
            kind = of_refusal(error)
            code = error.reason.name.lower()
        case SpeechError():
            _log(error, request_id)
            kind = of_speech_error(error)
            code = _snake(type(error).__name__.removesuffix("Error"))
        case HTTPException():
            status = HTTPStatus(error.status_code)
            return ApiError(status, _sentence(status), code=status.name.lower())
        case _:
            log.error("request failed", request=request_id, exc_info=error)
            return ApiError(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                "Something broke on our side. Please try again in a minute; if it happens again, "
                f"tell whoever runs this service the number {request_id}.",
                code="internal_error",
            )
    return ApiError(
        kind.status,
        explain_to_client(error),
        code=code,
        param=recording if kind.param is RECORDING else kind.param,
        retry_after=_retry_after(error, kind.status),
    )


def no_key(*, is_given: bool) -> ApiError:
    """Return what a client is told that has no key, or one that is none (any more)."""
    return ApiError(
        HTTPStatus.UNAUTHORIZED,
        "That's not a key of this service. Send yours as `Authorization: Bearer YOUR_KEY`."
        if is_given
        else "This needs a key. Send yours as `Authorization: Bearer YOUR_KEY`.",
        code="invalid_api_key",
    )


def invalid_request(error: RequestValidationError) -> ApiError:
    """Return what a client is told about fields of a wrong form. What was sent is not repeated."""
    first = error.errors()[0]
    if tuple(first["loc"]) == ("body",):
        words = "Send the body as a JSON object, with `Content-Type: application/json`."
        return ApiError(HTTPStatus.BAD_REQUEST, words, code="invalid_request")
    path = [str(part) for part in first["loc"] if part not in {"body", "query", "path", "header"}]
    field = path[0] if path and first["type"] != "json_invalid" else None
    problem = str(first["msg"]).removeprefix("Value error, ")
    message = f"{'.'.join(path)}: {problem}" if field else f"The request can't be read: {problem}"
    return ApiError(
        HTTPStatus.BAD_REQUEST, f"{message.rstrip('.')}.", code="invalid_request", param=field
    )


def _log(error: SpeechError, request_id: str) -> None:
    at_fault = (
        contract.LanguageNotSupportedError
        | contract.TextNotSpeakableError
        | contract.ConsentMissingError
    )
    is_clients = isinstance(error, at_fault)
    log.log(
        logging.INFO if is_clients else logging.WARNING,
        "speech failed",
        request=request_id,
        kind=type(error).__name__,
        reason=None if is_clients else str(error),  # it may quote what the client sent
        exc_info=error if error.__cause__ else None,  # a cause is a defect of the backend
    )


def _retry_after(error: Refusal | SpeechError, status: HTTPStatus) -> float | None:
    if status not in _MAY_WORK_LATER:
        return None
    if isinstance(error, Refusal) and "again" in error.values:
        return float(error.values["again"]) - time.time()
    seconds = getattr(error, "retry_after", None)
    return RETRY_SOON_SECONDS if seconds is None else float(seconds)


def _type_of(status: HTTPStatus) -> str:
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return "authentication_error"
        case HTTPStatus.FORBIDDEN:
            return "permission_error"
        case HTTPStatus.TOO_MANY_REQUESTS:
            return "rate_limit_error"
        case _ if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return "server_error"
        case _:
            return "invalid_request_error"


def _sentence(status: HTTPStatus) -> str:
    match status:
        case HTTPStatus.NOT_FOUND:
            return "There's nothing at this address. See /docs."
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return "This address takes no requests of that kind. See /docs."
        case HTTPStatus.BAD_REQUEST:
            return "The body of the request can't be read."
        case _:
            return f"{status.phrase}."


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
