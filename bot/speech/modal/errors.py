"""Translates the errors of Modal's client to those of the bot."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from grpclib.exceptions import StreamTerminatedError
from modal import exception as modal_errors

from backend.contract import SpeechError
from bot.speech.errors import (
    BackendBrokenError,
    BackendDeniesError,
    BackendNotDeployedError,
    BackendQuotaError,
    BackendUnreachableError,
    SpeechInterruptedError,
    SpeechStoppedError,
    SpeechTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

CALL_TIMEOUT_SECONDS = 300.0
"""The `timeout` that the class is deployed with, in seconds."""

_UNREACHABLE = (
    modal_errors.ConnectionError,
    modal_errors.ServiceError,
    modal_errors.InternalError,
    modal_errors.ClientClosed,
    StreamTerminatedError,
    OSError,
    asyncio.CancelledError,  # how the client ends its requests when it is closed
)

_MEANINGS: tuple[tuple[tuple[type[BaseException], ...], Callable[[str], SpeechError]], ...] = (
    # Modal reports a stopped app as a conflict.
    ((modal_errors.NotFoundError, modal_errors.ConflictError), BackendNotDeployedError),
    ((modal_errors.AuthError, modal_errors.PermissionDeniedError), BackendDeniesError),
    ((modal_errors.ResourceExhaustedError,), BackendQuotaError),
    (_UNREACHABLE, BackendUnreachableError),
    ((modal_errors.InternalFailure,), SpeechInterruptedError),
)

_ENDS_CALL = (
    SpeechError,
    modal_errors.RemoteError,
    modal_errors.InternalFailure,
    modal_errors.TimeoutError,
    modal_errors.NotFoundError,
)


def ends_call(error: BaseException) -> bool:
    """Whether a call that failed with this error has also ended remotely."""
    return isinstance(error, _ENDS_CALL)


def translate(error: BaseException) -> SpeechError:
    """Turn an error of Modal's client or of the remote method into a `SpeechError`.

    Only the messages of Modal's own errors are kept. Others may quote the text of a request.
    """
    if isinstance(error, SpeechError):
        return error
    if isinstance(error, modal_errors.TimeoutError):
        return SpeechTimeoutError(CALL_TIMEOUT_SECONDS)
    if isinstance(error, modal_errors.RemoteError):
        # Only the message distinguishes a cancelled call from one whose container died.
        was_stopped = "cancel" in str(error).lower()
        kind = SpeechStoppedError if was_stopped else SpeechInterruptedError
        return kind(f"Modal ended the call ({type(error).__name__})")
    for kinds, meaning in _MEANINGS:
        if isinstance(error, kinds):
            return meaning(f"{type(error).__name__}: {error}")
    return BackendBrokenError(f"the call failed with {type(error).__name__}")
