"""The whole bot on a simulated Discord, calling a loopback Modal with the stock client."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from simcord import _dpy_internals

from bot.speech.modal.backend import ModalBackend
from bot.speech.modal.client import ModalService
from tests.support.discord_server import open_server
from tests.support.modal_server.faults import TOKEN_ID, TOKEN_SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from simcord.env import Env

    from tests.support.discord_server import Server

LIGHT_APP = Path("tests/support/light_modal_app.py")


@asynccontextmanager
async def open_bot(folder: Path) -> AsyncIterator[Server]:
    """Start the bot with its production backend; `MODAL_SERVER_URL` says where Modal is."""
    backend = ModalBackend(ModalService((TOKEN_ID, TOKEN_SECRET)), model_id="light/1", slots=10)
    async with open_server(folder, backend) as server:
        _let_time_pass(server.env)
        yield server


def _let_time_pass(env: Env) -> None:
    """Have timers run by the clock: Modal answers from outside of what simcord can wait for."""
    _dpy_internals.release_clocks(env)
    loop = asyncio.get_running_loop()
    assert env._runtime is not None
    loop.call_later = env._runtime.call_later  # type: ignore[method-assign]
    loop.call_at = env._runtime.call_at  # type: ignore[method-assign]
