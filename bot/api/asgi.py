"""The API as an ASGI application that opens what it needs when its server starts, as on Modal."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import structlog

from backend.contract import BackendUnavailableError
from bot.api.app import create_app
from bot.api.service import keep_up, open_context
from bot.services import open_services
from bot.settings import SettingsError
from bot.storage.location import DatabaseUnusableError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from bot.api.context import ApiContext
    from bot.settings import Settings
    from bot.speech.backend import SpeechBackend

log = structlog.get_logger(__name__)

SECONDS_TO_END_REQUESTS = 1.5

EXPECTED = (SettingsError, DatabaseUnusableError, BackendUnavailableError)
"""What whoever deploys can mend. Each says what is wrong, in a sentence."""


class OpenedAtStart:
    """An ASGI application. Its server has to send it the events of its lifespan.

    https://asgi.readthedocs.io/en/latest/specs/lifespan.html

    Args:
        settings: What the operator decided.
        speech: Where speech comes from; by default what the settings name.
    """

    def __init__(self, settings: Settings, speech: SpeechBackend | None = None) -> None:
        self._settings = settings
        self._speech = speech
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or open and close everything."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if self._app is None:
            raise RuntimeError("a request came before the start, or after the end")
        await self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()  # it begins
        async with AsyncExitStack() as opened:
            try:
                context = await self._open(opened)
            except EXPECTED as error:
                log.error("the API can't start", reason=str(error))  # noqa: TRY400 - it says all
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            self._app = create_app(context)
            recurring = asyncio.create_task(keep_up(context))
            await send({"type": "lifespan.startup.complete"})
            try:
                await receive()  # it ends
            finally:
                self._app = None
                recurring.cancel()
                await context.requests.close(within=SECONDS_TO_END_REQUESTS)
        await send({"type": "lifespan.shutdown.complete"})

    async def _open(self, opened: AsyncExitStack) -> ApiContext:
        services = await open_services(self._settings, self._speech)
        opened.push_async_callback(services.library.close)
        opened.push_async_callback(services.speech.close)
        return await open_context(services)
