"""The stock CLI, client and containers work on the loopback server, which behaves as Modal does."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import modal
import pytest

from tests.deploy.conftest import SMALL_APP, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from tests.support.modal_server import ModalServer

pytestmark = [pytest.mark.realtime, pytest.mark.lasts(50)]


async def deployed(server: ModalServer, client: modal.Client, name: str, **env: str) -> Any:
    """Deploy the small app under a name; return an instance of its class, as a caller has it."""
    await server.deploy(SMALL_APP, env={"APP_NAME": name, **env})
    return looked_up(client, name)


def looked_up(client: modal.Client, name: str, kind: str = "Small") -> Any:
    return modal.Cls.from_name(name, kind, client=client)()


@pytest.fixture(scope="module")
def shared(server: ModalServer) -> None:
    """The small app, deployed once for all tests that leave it as it is."""
    asyncio.run(server.deploy(SMALL_APP))


@pytest.fixture
def small(shared: None, client: modal.Client) -> Any:  # noqa: ARG001 - it has to be there
    """Its class that has one container."""
    return looked_up(client, "small")


@pytest.fixture
def another(shared: None, client: modal.Client) -> Callable[[str], Any]:  # noqa: ARG001 - likewise
    """One of its other classes, by name."""
    return lambda kind: looked_up(client, "small", kind)


async def test_a_method_is_called_in_a_process_of_its_own(small: Any) -> None:
    assert await small.greet.remote.aio("Ada") == "Hello, Ada!"
    assert (await small.variable.remote.aio("MODAL_TASK_ID")).startswith("ta-")


async def test_a_stream_arrives_while_it_is_made(small: Any) -> None:
    stream = small.count.remote_gen.aio(3, pause=0.5)
    items = [(item, time.monotonic()) async for item in stream]

    assert [number for (number, _), _ in items[1:]] == [0, 1, 2]
    made = [made for (_, made), _ in items[1:]]
    arrived = [arrived for _, arrived in items[1:]]
    assert all(there < then for there, then in zip(arrived, made[1:], strict=False))


async def test_large_payloads_go_by_way_of_the_blob_store(small: Any, server: ModalServer) -> None:
    before = server.blobs_stored
    name = "x" * 9_000
    spawned = await small.greet.spawn.aio(name)
    assert await spawned.get.aio() == f"Hello, {name}!"
    assert server.blobs_stored == before + 2  # a spawned call's result above 8 KiB too

    name = "y" * (3 * 1024 * 1024)
    assert await small.greet.remote.aio(name) == f"Hello, {name}!"
    assert server.blobs_stored == before + 4


async def test_calls_share_a_container_up_to_its_limit(small: Any) -> None:
    names = await asyncio.gather(*(small.nap.remote.aio(1.0) for _ in range(6)))

    assert len(set(names)) == 1
    assert (await small.what_happened.remote.aio())["most_busy"] == 4


@pytest.mark.slow
async def test_a_second_container_starts_when_the_first_is_full(
    another: Callable[[str], Any],
) -> None:
    growing = another("Growing")
    [first] = set(await asyncio.gather(*(growing.nap.remote.aio(0.1) for _ in range(4))))
    filling = [await growing.nap.spawn.aio(60) for _ in range(4)]
    assert await growing.nap.remote.aio(0) != first
    for call in filling:
        await call.cancel.aio()


async def test_a_cancelled_call_is_cancelled_in_the_container(
    small: Any, client: modal.Client
) -> None:
    call = await small.nap.spawn.aio(60, "sleeper")
    async with asyncio.timeout(60):
        while not (await small.what_happened.remote.aio())["busy"]:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)

    await modal.FunctionCall.from_id(call.object_id, client=client).cancel.aio()

    with pytest.raises(modal.exception.RemoteError):
        await call.get.aio(timeout=60)
    assert "sleeper" in (await small.what_happened.remote.aio())["cancelled"]


async def test_a_stream_is_cancelled_by_its_first_item(small: Any, client: modal.Client) -> None:
    stream = small.count.remote_gen.aio(1_000, pause=0.1)
    call_id = await anext(stream)

    await modal.FunctionCall.from_id(call_id, client=client).cancel.aio()

    with pytest.raises(modal.exception.RemoteError):
        await asyncio.wait_for(exhaust(stream), 10)


async def exhaust(stream: AsyncGenerator[object, None]) -> None:
    async for _ in stream:
        pass


async def test_a_waiting_call_is_cancelled_at_once(small: Any) -> None:
    busy = [await small.nap.spawn.aio(2.0) for _ in range(4)]
    waiting = await small.nap.spawn.aio(2.0)
    await waiting.cancel.aio()

    with pytest.raises(modal.exception.RemoteError):
        await waiting.get.aio()
    with pytest.raises(TimeoutError):  # the others are busy still
        await busy[-1].get.aio(timeout=0)
    await modal.FunctionCall.gather.aio(*busy)


async def test_get_gives_up_after_its_timeout(small: Any) -> None:
    call = await small.nap.spawn.aio(1.0)
    with pytest.raises(TimeoutError):
        await call.get.aio(timeout=0.1)
    assert await call.get.aio()


@pytest.mark.slow
async def test_an_idle_container_ends_and_min_containers_keeps_one(
    server: ModalServer, another: Callable[[str], Any]
) -> None:
    idling = another("Idling")
    container = await idling.nap.remote.aio(0)

    def up() -> list[str]:
        ours = [each for each in server.containers if "Idling" in each.definition.function_name]
        return [each.task_id for each in ours]

    assert up() == [container]
    await until(lambda: not up())

    with pytest.warns(modal.exception.DeprecationError, match="autoscaler.update"):
        await idling.update_autoscaler.aio(min_containers=1)
    await until(up)
    [kept] = up()
    await asyncio.sleep(2.5)
    assert up() == [kept]
    with pytest.warns(modal.exception.DeprecationError, match="autoscaler.update"):
        await idling.update_autoscaler.aio(min_containers=0)
    await until(lambda: not up())


@pytest.mark.slow
async def test_a_call_that_takes_too_long_times_out(another: Callable[[str], Any]) -> None:
    hasty = another("Hasty")
    with pytest.raises(modal.exception.FunctionTimeoutError):
        await hasty.nap.remote.aio(30)
    assert await hasty.greet.remote.aio("again") == "Hello, again!"


@pytest.mark.slow
async def test_what_keeps_a_class_from_loading_reaches_the_caller(
    another: Callable[[str], Any],
) -> None:
    with pytest.raises(RuntimeError, match="the model cannot be loaded"):
        await another("Broken").greet.remote.aio("Ada")


@pytest.mark.slow
async def test_an_old_handle_reaches_the_new_code_but_not_an_app_that_was_stopped(
    server: ModalServer, client: modal.Client
) -> None:
    """After that, the app has to be deployed, and looked up, again."""
    name = "coming-and-going"
    small = await deployed(server, client, name)
    assert await small.greet.remote.aio("Ada") == "Hello, Ada!"
    under_way = await small.nap.spawn.aio(2.0)

    await deployed(server, client, name, GREETING="Ahoy")

    assert await small.greet.remote.aio("Ada") == "Ahoy, Ada!"
    assert await under_way.get.aio()

    server.stop_app(name)
    with pytest.raises(modal.exception.NotFoundError):
        await small.greet.remote.aio("Ada")
    with pytest.raises(modal.exception.NotFoundError):
        await looked_up(client, name).greet.remote.aio("Ada")

    again = await deployed(server, client, name)
    with pytest.raises(modal.exception.NotFoundError):
        await small.greet.remote.aio("Ada")
    assert await again.greet.remote.aio("Ada") == "Hello, Ada!"


async def test_a_class_or_method_that_is_not_there_is_not_found(
    small: Any, client: modal.Client
) -> None:
    with pytest.raises(modal.exception.NotFoundError):
        await small.sing.remote.aio()
    with pytest.raises(modal.exception.NotFoundError):
        await modal.Cls.from_name("small", "Large", client=client)().greet.remote.aio("Ada")


@pytest.mark.slow
async def test_secrets_must_be_there_and_reach_the_container(
    server: ModalServer, client: modal.Client
) -> None:
    env = {"APP_NAME": "secretive", "SECRETS": "keys-of-the-house"}
    refused = await server.modal("deploy", str(SMALL_APP), env=env)
    assert refused.exit_code
    assert "keys-of-the-house" in refused.output

    server.keep_secret("keys-of-the-house", CELLAR="under the mat")
    small = await deployed(server, client, "secretive", SECRETS="keys-of-the-house")
    assert await small.variable.remote.aio("CELLAR") == "under the mat"


async def test_a_container_sees_nothing_of_the_machines_environment(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", "secret")
    assert await small.variable.remote.aio("DISCORD_TOKEN") is None
    assert await small.variable.remote.aio("GREETING") == "Hello"


@pytest.mark.slow
async def test_run_calls_functions_and_shows_what_containers_write(server: ModalServer) -> None:
    ran = await server.modal("run", f"{SMALL_APP}::put_book", "--title", "Emma")
    assert ran.exit_code == 0, ran.output
    assert "putting Emma on the shelf" in ran.output
    assert [book.name for book in (server.volume("shelf") / "books").iterdir()] == ["Emma"]

    ran = await server.modal("run", str(SMALL_APP), "--name", "Grace")
    assert ran.exit_code == 0, ran.output
    assert "Hello, Grace!" in ran.output
    assert not [each for each in server.containers if each.function.app.stopped]
