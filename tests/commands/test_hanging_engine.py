"""A voice engine on this machine hangs or dies, in many ways and at any moment."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from backend.contract import BackendUnavailableError
from bot.speech.errors import BackendKeepsFailingError
from bot.speech.worker.host import WorkerBackend
from bot.speech.worker.watch import Limits
from tests.support.discord_server import open_server
from tests.support.hanging_model import WAYS, Accidents, loader
from tests.support.voice_guild import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.discord_server import Answer, Member, Server

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.realtime,
    pytest.mark.slow,
    pytest.mark.lasts(40),
]

LIMITS = Limits(
    beat=0.05, silence=1.2, doubt=0.3, step=1.2, first_load=60.0, load=60.0, health=0.2
)
STOPS_WITHIN_SECONDS = 8.0
STUCK = (
    "The voice engine got stuck while it worked on that, so I'm starting it again. "
    "Please try again in a minute."
)
BROKEN = (
    "The voice engine broke down while it worked on that. Another one starts by itself, "
    "so please try again in a minute."
)
BEEPS = 3


@pytest.fixture(scope="module")
def accidents(tmp_path_factory: pytest.TempPathFactory) -> Accidents:
    return Accidents(tmp_path_factory.getbasetemp())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    tmp_path_factory: pytest.TempPathFactory,
    accidents: Accidents,  # noqa: ARG001 - in the same folder
) -> AsyncIterator[Server]:
    backend = WorkerBackend(loader(tmp_path_factory.getbasetemp()), limits=LIMITS)
    async with open_server(tmp_path_factory.mktemp("bot"), backend) as server:
        server.lets_time_pass()
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ada(server: Server) -> Member:
    ada = server.member("ada")
    await ada.saves_voice()
    return ada


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grace(server: Server) -> Member:
    grace = server.member("grace")
    await grace.saves_voice()
    return grace


def processes() -> set[int]:
    return {child.pid for child in multiprocessing.active_children() if child.pid is not None}


async def speaks(member: Member, text: str = "Hello there.") -> Answer:
    answer = await member.types("say", text=text)
    assert len(await answer.files()) == 1, answer.told
    return answer


@pytest.mark.parametrize("way", WAYS)
async def test_before_the_first_sound_it_is_replaced_and_nobody_notices(
    ada: Member, accidents: Accidents, way: str
) -> None:
    [before] = processes()
    accidents.allow(1)
    await speaks(ada, f"I am {way} at first.")
    [after] = processes()
    assert after != before
