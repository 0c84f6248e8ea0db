"""What the stock client does about the faults that the loopback server can be told to have."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import modal
import pytest

from tests.deploy.conftest import SMALL_APP, until
from tests.support.modal_server.faults import Faults

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from tests.support.modal_server import ModalServer

pytestmark = [pytest.mark.realtime, pytest.mark.lasts(25)]

GREETED = "Hello, Ada!"


@pytest.fixture
async def small(server: ModalServer, client: modal.Client) -> AsyncIterator[Any]:
    """The small app, awake; after the test no fault is left, and it must answer again."""
    if not server.calls:
        await server.deploy(SMALL_APP)
    small = modal.Cls.from_name("small", "Small", client=client)()
    assert await small.greet.remote.aio("Ada") == GREETED
    yield small
    vars(server.faults).update(vars(Faults()))
    assert await small.greet.remote.aio("Ada") == GREETED


async def test_quota_exhausted(small: Any, server: ModalServer) -> None:
    server.faults.quota_exhausted = True
    with pytest.raises(modal.exception.ResourceExhaustedError):
        await small.greet.remote.aio("Ada")


async def test_credentials_revoked(small: Any, server: ModalServer) -> None:
    server.faults.credentials_revoked = True
    with pytest.raises(modal.exception.AuthError):
        await small.greet.remote.aio("Ada")


async def test_a_wrong_token_is_refused(server: ModalServer, small: Any) -> None:
    assert small
    env = {"MODAL_TOKEN_SECRET": "guessed"}
    refused = await server.modal("deploy", str(SMALL_APP), env=env)
    assert refused.exit_code
    assert "Token ID or secret is invalid" in refused.output


async def test_slow_answers(small: Any, server: ModalServer) -> None:
    server.faults.answer_delay_seconds = 0.3
    started = time.monotonic()
    assert await small.greet.remote.aio("Ada") == GREETED
    assert time.monotonic() - started > 0.6  # a call is two requests


async def test_unreachable(small: Any, server: ModalServer) -> None:
    calls = len(server.calls)
    with server.unreachable(), pytest.raises(TimeoutError):
        async with asyncio.timeout(0.7):
            await small.greet.remote.aio("Ada")
    assert len(server.calls) == calls


async def test_a_call_outlives_a_short_outage(small: Any, server: ModalServer) -> None:
    call = await small.nap.spawn.aio(0.5)
    with server.unreachable():
        await asyncio.sleep(0.2)
    assert await call.get.aio()


@pytest.mark.slow
async def test_a_call_begins_anew_when_its_container_dies(small: Any, server: ModalServer) -> None:
    first = await small.variable.remote.aio("MODAL_TASK_ID")
    call = await small.nap.spawn.aio(1.0)
    await running(server)

    server.kill_containers()

    assert await call.get.aio(timeout=30) != first


@pytest.mark.slow
async def test_a_call_fails_when_its_container_dies_for_good(
    small: Any, server: ModalServer
) -> None:
    call = await small.nap.spawn.aio(60)
    await running(server)

    server.kill_containers(calls="fail")

    with pytest.raises(modal.exception.InternalFailure):
        await call.get.aio(timeout=5)


@pytest.mark.slow
async def test_a_stream_breaks_off_when_its_container_dies_for_good(
    small: Any, server: ModalServer
) -> None:
    stream = small.count.remote_gen.aio(1_000, pause=0.05)
    assert [await anext(stream) for _ in range(3)]

    server.kill_containers(calls="fail")

    with pytest.raises(modal.exception.InternalFailure):
        await asyncio.wait_for(exhaust(stream), 10)


@pytest.mark.slow
async def test_a_stream_that_begins_anew_yields_each_item_once(
    small: Any, server: ModalServer
) -> None:
    numbers = []
    async for item in small.count.remote_gen.aio(8, pause=0.05):
        if isinstance(item, tuple):
            numbers.append(item[0])
        if numbers == [0, 1]:
            server.kill_containers()
    assert numbers == list(range(8))


@pytest.mark.slow
async def test_a_cold_start_takes_its_time(small: Any, server: ModalServer) -> None:
    server.faults.cold_start_seconds = 1.0
    server.kill_containers()
    started = time.monotonic()
    assert await small.greet.remote.aio("Ada") == GREETED
    assert time.monotonic() - started > 1.0


async def running(server: ModalServer) -> None:
    await until(lambda: any(container.running for container in server.containers))


async def exhaust(stream: AsyncGenerator[object, None]) -> None:
    async for _ in stream:
        pass
