"""The API as Modal serves it: opened by its server's lifespan, in an image without PyTorch."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from bot.api.asgi import OpenedAtStart
from tests.api.test_speech import SPEECH, in_base64
from tests.support.api import ANA, KEYS, api_settings
from tests.support.scripted_backend import ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Message

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def lifespan(app: OpenedAtStart) -> AsyncIterator[list[Message]]:
    """Start an application, and end it with the block; yields what it has said by then."""
    to_app: asyncio.Queue[Message] = asyncio.Queue()
    said: list[Message] = []
    spoke = asyncio.Event()

    async def send(message: Message) -> None:
        said.append(message)
        spoke.set()

    await to_app.put({"type": "lifespan.startup"})
    living = asyncio.create_task(app({"type": "lifespan"}, to_app.get, send))
    await spoke.wait()
    try:
        yield said
    finally:
        await to_app.put({"type": "lifespan.shutdown"})
        await living


async def test_it_opens_and_closes_with_its_server(tmp_path: Path, recording: bytes) -> None:
    backend = ScriptedBackend()
    app = OpenedAtStart(api_settings(tmp_path, database_url="none"), backend)
    headers = {"authorization": f"Bearer {KEYS[ANA]}"}
    body = {"input": "Hello.", "ref_audio": in_base64(recording), "consent": True}
    transport = httpx.ASGITransport(app=app)
    async with lifespan(app) as said:
        assert [message["type"] for message in said] == ["lifespan.startup.complete"]
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            answer = await client.post(SPEECH, json=body, headers=headers)
            assert answer.status_code == 200
            assert (await client.get("/v1/models")).status_code == 401
    assert said[-1]["type"] == "lifespan.shutdown.complete"
    assert backend.closed


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"api_keys": ""}, "no key yet"), ({"database_url": "mysql://x/y"}, "aren't supported")],
)
async def test_what_keeps_it_from_starting_is_said(
    tmp_path: Path, settings: dict[str, Any], says: str
) -> None:
    app = OpenedAtStart(api_settings(tmp_path, **settings), ScriptedBackend())
    async with lifespan(app) as said:
        assert said[0]["type"] == "lifespan.startup.failed"
        assert says in said[0]["message"]


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"MODAL_CONFIG_PATH": "/nowhere", "PATH": "", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_it_is_deployed_only_with_the_name_of_a_secret_and_needs_no_torch() -> None:
    absent = ("torch", "qwen_tts", "transformers", "huggingface_hub", "faster_whisper", "perth")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent!r}))\n"
        "import deploy_backend as d\n"
        "print(type(d.api.local()).__name__ if hasattr(d, 'api') else 'nothing')\n"
    )
    without = run(code)
    assert without.returncode == 0, without.stderr
    assert without.stdout == "nothing\n"
    with_it = run(code, API_SECRET="timbre-api", DATABASE_URL="none", SPEECH_BACKEND="modal")  # noqa: S106 - its name
    assert with_it.returncode == 0, with_it.stderr
    assert with_it.stdout == "OpenedAtStart\n"
