"""The bodies of requests: bounded in size, in time, and together; and clients that leave."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from backend.sent_audio import MAX_BASE64_CHARACTERS
from bot.api.errors import RETRY_SOON_SECONDS, ApiError
from bot.audio.reference import MAX_UPLOAD_MEGABYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Message, Receive, Scope

_KIBIBYTE, _MEBIBYTE = 1024, 1024 * 1024
_FIELDS = 64 * _KIBIBYTE
"""For everything in a request but its recording."""

MOST_BYTES = {
    "/v1/audio/speech": MAX_BASE64_CHARACTERS + _FIELDS,
    "/v1/audio/voices": MAX_UPLOAD_MEGABYTES * _MEBIBYTE + _FIELDS,
    "/v1/audio/verify": MAX_UPLOAD_MEGABYTES * _MEBIBYTE + _FIELDS,
}
"""The largest body of each route that takes recordings; other routes take `_FIELDS`."""

MOST_BYTES_PER_PERSON = 64 * _MEBIBYTE
MOST_BYTES_IN_ALL = 256 * _MEBIBYTE
"""Of all bodies that are held at one time."""

SECONDS_FOR_A_BODY = 60.0
SECONDS_WITHOUT_ANY = 10.0
SECONDS_TO_DISCARD = 2.0
BYTES_TO_DISCARD = 64 * _MEBIBYTE

_MESSAGES_AHEAD = 4


class BodyError(HTTPException):
    """What FastAPI lets through when a body is read; `error` is what the client is told."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(error.status)
        self.error = error


class BodyBudget:
    """Counts the bytes of all bodies that are held."""

    def __init__(self) -> None:
        self._held: dict[int, int] = {}

    @contextmanager
    def hold(self, person: int, size: int) -> Iterator[None]:
        """Hold a body of at most that many bytes, for a person. Raises `ApiError` if it's full."""
        theirs = self._held.get(person, 0)
        if theirs and theirs + size > MOST_BYTES_PER_PERSON:
            raise ApiError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "You're sending too many recordings at once. Wait for one to end.",
                code="too_many_uploads",
                retry_after=RETRY_SOON_SECONDS,
            )
        if sum(self._held.values()) + size > MOST_BYTES_IN_ALL:
            raise ApiError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "The service is busy with other recordings. Please try again in a moment.",
                code="too_many_uploads",
                retry_after=RETRY_SOON_SECONDS,
            )
        self._held[person] = theirs + size
        try:
            yield
        finally:
            self._held[person] -= size
            if not self._held[person]:
                del self._held[person]


def size_of_body(scope: Scope) -> int:
    """Return how large a request's body is at most. Raises `ApiError` if that is too large."""
    most = MOST_BYTES.get(scope["path"], _FIELDS)
    declared = _header(scope, b"content-length")
    is_chunked = _header(scope, b"transfer-encoding") is not None
    if declared is None:
        return most if is_chunked else 0
    if is_chunked or not declared.isdigit():
        # A proxy in front of this might go by the other, and take what is left for the next
        # request of somebody else: RFC 9112, section 6.3.
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            "The length of the body is given in two ways, or is no number.",
            code="invalid_request",
        )
    if len(declared) > 15 or int(declared) > most:  # noqa: PLR2004 - nobody sends petabytes
        raise _too_large(most)
    return int(declared)


async def discard_body(scope: Scope, receive: Receive) -> None:
    """Read what a client still sends, for a while, so that it reads the answer.

    Many clients send all of a body before they read, and then find the connection closed. Those
    that wait until they are asked for the body don't send it.
    """
    if _header(scope, b"expect") is None:
        with suppress(TimeoutError):
            async with asyncio.timeout(SECONDS_TO_DISCARD):
                await _discard(receive)


async def _discard(receive: Receive) -> None:
    discarded = 0
    while discarded < BYTES_TO_DISCARD:
        message = await receive()
        discarded += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return


class Body:
    """The body of one request, and whether its client is still there.

    Args:
        receive: ASGI's.
        most: The largest that it may be, in bytes.

    Attributes:
        is_whole: Whether all of it was read.
    """

    def __init__(self, receive: Receive, most: int) -> None:
        self.is_whole = most == 0
        self._receive = receive
        self._most = most
        self._messages: asyncio.Queue[Message | ApiError] = asyncio.Queue(_MESSAGES_AHEAD)
        self._is_answered = False
        self._ended = asyncio.Event()

    async def until_left(self) -> None:
        """Read the body as the application takes it; return when the client has left."""
        try:
            await self._read()
        except ApiError as error:
            await self._give(error)
            await _discard(self._receive)
        self._ended.set()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def end(self) -> None:
        """Take nothing more, because the answer begins; see `discard_body`."""
        self._is_answered = True
        while not self._messages.empty():
            self._messages.get_nowait()
        with suppress(TimeoutError):
            async with asyncio.timeout(SECONDS_TO_DISCARD):
                await self._ended.wait()

    async def receive(self) -> Message:
        """ASGI's `receive`, for the application. Raises `BodyError`."""
        message = await self._messages.get()
        if isinstance(message, ApiError):
            raise BodyError(message)
        return message

    async def _read(self) -> None:
        read = 0
        try:
            async with asyncio.timeout(SECONDS_FOR_A_BODY):
                more = True
                while more:
                    async with asyncio.timeout(SECONDS_WITHOUT_ANY):
                        message = await self._receive()
                    read += len(message.get("body", b""))
                    if read > self._most:
                        raise _too_large(self._most)
                    more = message["type"] == "http.request" and message.get("more_body", False)
                    self.is_whole = not more
                    await self._give(message)
        except TimeoutError:
            raise ApiError(
                HTTPStatus.REQUEST_TIMEOUT,
                "The body of the request came too slowly.",
                code="body_too_slow",
            ) from None

    async def _give(self, message: Message | ApiError) -> None:
        if not self._is_answered:
            await self._messages.put(message)


def _too_large(most: int) -> ApiError:
    shown = f"{most // _MEBIBYTE} MiB" if most >= _MEBIBYTE else f"{most // _KIBIBYTE} KiB"
    return ApiError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"The body of the request is too large: this address takes up to {shown}. "
        "Ten seconds of speech are enough for a voice.",
        code="body_too_large",
    )


def _header(scope: Scope, name: bytes) -> bytes | None:
    return next((value for key, value in scope["headers"] if key == name), None)
