"""What every request passes: who it is, how much it may send, how it ends, and what is logged."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import ExitStack
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog

from bot.api.bodies import Body, BodyBudget, discard_body, size_of_body
from bot.api.errors import RETRY_SOON_SECONDS, ApiError, api_error, no_key

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from bot.api.context import ApiContext

log = structlog.get_logger(__name__)

MOST_REQUESTS = 256
"""That are answered at one time, in all."""

MOST_HEADER_BYTES = 16 * 1024

SECONDS_TO_END = 5.0
"""How long a request of a client that left may take to end."""

_BEARER = "bearer "


class ApiMiddleware:
    """ASGI middleware around the application.

    It lets in whoever has a key, before anything of the body is read. A request ends when its
    client leaves. What is logged of a request is its route, its person and its status.

    Args:
        app: The application.
        context: Knows the keys.
    """

    def __init__(self, app: ASGIApp, context: ApiContext) -> None:
        self._app = app
        self._context = context
        self._budget = BodyBudget()
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        answer = _Answer(send)
        self._requests += 1
        try:
            await self._answer(scope, receive, answer)
        finally:
            self._requests -= 1
            _log(scope, answer, time.perf_counter() - began)

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        state = scope.setdefault("state", {})
        state["request_id"] = answer.request_id
        with ExitStack() as held:
            try:
                self._check_room(scope)
                state["key"] = _key(scope)
                state["person"] = person = await self._person(scope, state["key"])
                size = size_of_body(scope)
                held.enter_context(self._budget.hold(person, size))
            except Exception as error:  # noqa: BLE001 - the client is told
                told = api_error(error, recording=None, request_id=answer.request_id)
                await discard_body(scope, receive)
                await told.response()(scope, receive, answer.send)
                return
            body = Body(receive, size)
            answer.body = body
            await self._pass_on(scope, body, answer)

    def _check_room(self, scope: Scope) -> None:
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_HEADER_BYTES:
            raise ApiError(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                "The headers of the request are too large.",
                code="headers_too_large",
            )
        if self._requests > MOST_REQUESTS:
            raise ApiError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "The service is full. Please try again in a moment.",
                code="full",
                retry_after=RETRY_SOON_SECONDS,
            )

    async def _person(self, scope: Scope, key: str | None) -> int:
        """Return whose key the request has; 0 where none is needed. Raises `ApiError`."""
        if not scope["path"].startswith("/v1/"):
            return 0
        person = None if key is None else await self._context.keys.person_of(key)
        if person is None:
            raise no_key(is_given=key is not None)
        return person

    async def _pass_on(self, scope: Scope, body: Body, answer: _Answer) -> None:
        """Let the application answer, and end that if the client leaves."""
        answering = asyncio.create_task(self._run(scope, body, answer))
        watching = asyncio.create_task(body.until_left())
        try:
            await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done() and not answer.is_complete:
                answer.was_left = True
                answering.cancel()
            await asyncio.wait({answering}, timeout=SECONDS_TO_END)
        finally:
            answering.cancel()
            watching.cancel()

    async def _run(self, scope: Scope, body: Body, answer: _Answer) -> None:
        try:
            await self._app(scope, body.receive, answer.send)
        except Exception:
            if not answer.is_complete:  # else the client was told, and the log as well
                log.exception("answer broken off", request=answer.request_id)


class _Answer:
    """The answer to one request, as it is sent.

    Args:
        send: ASGI's.

    Attributes:
        request_id: Names the request, in the log and to the client.
        status: The HTTP status; None before it is sent.
        is_complete: Whether all of it was sent.
        was_left: Whether the client left before.
        body: The body of the request; None if the application never gets it.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self.request_id = f"req_{secrets.token_hex(8)}"
        self.status: int | None = None
        self.is_complete = False
        self.was_left = False
        self.body: Body | None = None

    async def send(self, message: Message) -> None:
        """ASGI's `send`, for the application."""
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            headers = [*message.get("headers", []), (b"x-request-id", self.request_id.encode())]
            if self.body is None or not self.body.is_whole:
                if self.body is not None:
                    await self.body.end()
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        elif not message.get("more_body", False):
            self.is_complete = True
        await self._send(message)


def _key(scope: Scope) -> str | None:
    """Return what a request has as its key; None without any header for it."""
    header = next((value for key, value in scope["headers"] if key == b"authorization"), None)
    if header is None:
        return None
    written = header.decode("latin-1")
    is_bearer = written[: len(_BEARER)].lower() == _BEARER
    return written[len(_BEARER) :].strip() if is_bearer else ""


def _log(scope: Scope, answer: _Answer, seconds: float) -> None:
    """Log a request: its route, and not its path, in which there may be a voice's name."""
    route = getattr(scope.get("route"), "path", None)
    ended = "left" if answer.was_left else "whole" if answer.is_complete else "broken off"
    write = log.debug if route in {"/health", "/ready"} else log.info
    write(
        "request",
        request=answer.request_id,
        method=scope["method"],
        route=route,
        person=scope.get("state", {}).get("person"),
        status=answer.status,
        ended=ended,
        seconds=round(seconds, 3),
    )
