"""The whole bot on a simulated Discord, calling a loopback Modal with the stock client."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bot.speech.modal.backend import ModalBackend
from bot.speech.modal.client import ModalService
from tests.support.discord_server import open_server
from tests.support.modal_server.faults import TOKEN_ID, TOKEN_SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.discord_server import Server

LIGHT_APP = Path("tests/support/light_modal_app.py")


@asynccontextmanager
async def open_bot(folder: Path) -> AsyncIterator[Server]:
    """Start the bot with its production backend; `MODAL_SERVER_URL` says where Modal is."""
    backend = ModalBackend(ModalService((TOKEN_ID, TOKEN_SECRET)), model_id="light/1", slots=10)
    async with open_server(folder, backend) as server:
        server.lets_time_pass()
        yield server
