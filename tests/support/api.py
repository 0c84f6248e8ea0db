"""The HTTP API as a running server, over a backend whose behaviour a test decides."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from backend.fetch import fetch_audio
from bot.api.app import create_app
from bot.api.server import listen
from bot.api.service import open_context, serve
from bot.services import open_services
from bot.settings import Settings
from tests.support.discord_server import NO_LIMITS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from backend.sent_audio import FetchAudio
    from bot.api.context import ApiContext
    from bot.api.middleware import ApiMiddleware
    from bot.services import Services
    from bot.speech.backend import SpeechBackend
    from bot.voices.records import SavedVoice

ANA, BEN, CAT = 1_198_765_432_109_876_543, 2**63 - 1, 1_298_765_432_109_876_543
KEYS = {
    ANA: "anas-key-which-is-long-and-random",
    BEN: "bens-key-which-is-long-and-random",
    CAT: "cats-key-which-is-long-and-random",
}


@dataclass
class Api:
    """A running server.

    Attributes:
        url: Where it is.
        context: What its routes work with.
        door: What every request passes.
    """

    url: str
    context: ApiContext
    door: ApiMiddleware

    @property
    def services(self) -> Services:
        return self.context.services

    def client(self, person: int | None = ANA, **options: Any) -> httpx.AsyncClient:
        """A client with a person's key, or without one."""
        headers = {} if person is None else {"authorization": f"Bearer {KEYS[person]}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=60, **options)


def api_settings(folder: Path, **settings: Any) -> Settings:
    values: dict[str, Any] = {
        "speech_backend": "preview",
        "database_url": f"sqlite:///{folder}/voices.db",
        "api_keys": ",".join(f"{key}:{person}" for person, key in KEYS.items()),
        **NO_LIMITS,
    }
    return Settings(_env_file=None, **{**values, **settings})


async def saved(api: Api, recording: bytes, name: str = "Me", person: int = ANA) -> SavedVoice:
    """Save a voice of a person's over the API, and return it."""
    async with api.client(person) as client:
        answer = await client.post(
            "/v1/audio/voices",
            files={"audio_sample": ("me.wav", recording)},
            data={"name": name, "consent": "own voice"},
        )
        assert answer.status_code == 200, answer.text
    return await api.services.library.find(person, name)


@asynccontextmanager
async def running_api(
    folder: Path,
    backend: SpeechBackend | None = None,
    *,
    fetch: FetchAudio = fetch_audio,
    **settings: Any,
) -> AsyncIterator[Api]:
    """Serve the API on a port of this machine."""
    services = await open_services(api_settings(folder, **settings), backend)
    context = await open_context(services, fetch)
    listening = listen("127.0.0.1", 0)
    door = create_app(context)
    serving = asyncio.create_task(serve(context, door, listening))
    try:
        yield Api(f"http://127.0.0.1:{listening.getsockname()[1]}", context, door)
    finally:
        serving.cancel()
        await asyncio.wait([serving])
        listening.close()
        await services.speech.close()
        await services.library.close()
