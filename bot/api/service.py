"""The HTTP API over opened services: it is served, and what recurs while it runs is done."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from backend.fetch import fetch_audio
from bot.api.context import ApiContext
from bot.api.keys import NO_KEY, NO_KEY_IN_SETTINGS, KeyRing
from bot.api.requests import ApiRequests
from bot.api.server import SECONDS_TO_END_ANSWERS, Server
from bot.enforcement import Enforcement
from bot.guilds.ledger import RENEW_SECONDS
from bot.settings import SettingsError
from bot.storage.errors import DatabaseFailedError

if TYPE_CHECKING:
    import socket

    from starlette.types import ASGIApp

    from backend.sent_audio import FetchAudio
    from bot.services import Services

log = structlog.get_logger(__name__)

SECONDS_TO_ENFORCE = 2.0
"""A block takes effect so soon, wherever it was decided."""

CLEAN_EVERY = timedelta(hours=6)


async def open_context(services: Services, fetch: FetchAudio = fetch_audio) -> ApiContext:
    """Return what the routes work with. Raises `SettingsError` if nobody has a key.

    Args:
        services: What every front works with.
        fetch: Downloads the recording at an address that a client names.
    """
    settings = services.settings
    keys = KeyRing(settings.api_keys.get_secret_value(), services.policy.api_keys)
    if not await keys.any():
        raise SettingsError(NO_KEY if settings.has_database else NO_KEY_IN_SETTINGS)
    return ApiContext(services, ApiRequests(services.policy), keys, fetch)


async def serve(context: ApiContext, app: ASGIApp, listening: socket.socket) -> None:
    """Serve the API on a socket until this is cancelled.

    Args:
        context: What the routes work with.
        app: The application over it.
        listening: The socket.
    """
    recurring = asyncio.create_task(keep_up(context))
    host, port = listening.getsockname()[:2]
    log.info("the API is there", address=f"http://{host}:{port}", documents="/docs")
    server = asyncio.create_task(Server(app).run_until_cancelled(listening))
    try:
        await asyncio.shield(server)
    finally:
        await context.requests.close(within=SECONDS_TO_END_ANSWERS)
        recurring.cancel()
        server.cancel()
        await asyncio.wait({recurring, server})


async def keep_up(context: ApiContext) -> None:
    """Do what recurs: decisions take effect, limits stay counted, what is old goes.

    A bot in the same process does the same for its own commands. Nothing of it harms if done twice.
    """
    services, requests = context.services, context.requests
    enforcement = Enforcement(services.voice_access, lambda: list(requests.open))
    kept = timedelta(days=services.settings.audit_days)
    renew_at = clean_at = datetime.now(UTC)
    while True:
        now = datetime.now(UTC)
        try:
            await enforcement.enforce()
            if now >= renew_at:
                services.policy.ledger.renew()
                renew_at = now + timedelta(seconds=RENEW_SECONDS)
            if now >= clean_at:
                services.policy.drop_before(now - kept)
                clean_at = now + CLEAN_EVERY
        except DatabaseFailedError:
            pass  # logged where it happened
        except Exception:
            log.exception("upkeep of the API failed")
        await asyncio.sleep(SECONDS_TO_ENFORCE)
