"""Who gets in, and what clients can't do: send too much, too slowly, or read nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from bot.api import bodies, server
from tests.api.test_speech import Pause, until_nothing_runs
from tests.support.api import ANA, KEYS, Api, running_api, saved

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.scripted_backend import ScriptedBackend

KEY = KEYS[ANA]
SPEECH = "/v1/audio/speech"


class Wire:
    """A connection on which a test writes what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def sends(self, *lines: str, body: bytes = b"") -> None:
        head = "\r\n".join([*lines, "host: x", f"authorization: Bearer {KEY}", "", ""])
        self.writer.write(head.encode() + body)
        await self.writer.drain()

    async def reads(self) -> tuple[int, dict[str, str], bytes]:
        """The status, headers and body of the answer; the body ends with the connection."""
        async with asyncio.timeout(20):
            head, _, body = (await self.reader.read()).partition(b"\r\n\r\n")
        status, *headers = head.decode().split("\r\n")
        fields = dict(line.split(": ", 1) for line in headers)
        return int(status.split()[1]), fields, body

    async def is_closed(self) -> bool:
        """Whether the server closes the connection without a word."""
        async with asyncio.timeout(20):
            try:
                return await self.reader.read() == b""
            except ConnectionResetError:
                return True


Connect = Callable[[Api], Awaitable[Wire]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Opens connections, which are closed at the end."""
    wires: list[Wire] = []

    async def connect(api: Api) -> Wire:
        port = int(api.url.rpartition(":")[2])
        wires.append(Wire(*await asyncio.open_connection("127.0.0.1", port)))
        return wires[-1]

    yield connect
    for wire in wires:
        wire.writer.close()
        with suppress(OSError):
            await wire.writer.wait_closed()


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def test_nobody_gets_in_without_a_key(api: Api) -> None:
    async with api.client(None) as client:
        for header in (None, "Bearer", f"Basic {KEY}", f"Bearer {KEY}x", "Bearer é" * 9):
            headers = [] if header is None else [(b"authorization", header.encode())]
            for method, path in [
                ("POST", SPEECH),
                ("GET", "/v1/models"),
                ("GET", "/v1/audio/voices"),
                ("POST", "/v1/audio/verify"),
                ("GET", "/v1/nothing"),
            ]:
                answer = await client.request(method, path, headers=headers)
                assert answer.status_code == 401, (header, path)
                assert answer.headers["www-authenticate"] == "Bearer"
                assert answer.json()["error"]["code"] == "invalid_api_key"
        for path in ("/health", "/ready", "/docs", "/openapi.json"):
            assert (await client.get(path)).status_code == 200
        assert (
            await client.get("/v1/models", headers={"authorization": f"bearer {KEY}"})
        ).is_success


async def test_no_other_page_can_use_it(api: Api) -> None:
    headers = {"origin": "https://example.com", "access-control-request-method": "POST"}
    async with api.client() as client:
        for answer in (
            await client.options(SPEECH, headers=headers),
            await client.get("/v1/models", headers=headers),
        ):
            assert not any(name.startswith("access-control") for name in answer.headers)


async def test_huge_bodies_are_refused_before_they_are_read(api: Api, connect: Connect) -> None:
    wire = await connect(api)
    await wire.sends(
        f"POST {SPEECH} HTTP/1.1", "content-length: 99999999999", "expect: 100-continue"
    )
    status, headers, body = await wire.reads()
    assert (status, headers["connection"]) == (413, "close")
    assert json.loads(body)["error"]["code"] == "body_too_large"

    async def in_chunks() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield bytes(1024 * 1024)

    async with api.client() as client:
        answer = await client.post(SPEECH, content=bytes(bodies.MOST_BYTES[SPEECH] + 1))
        assert answer.status_code == 413, "a client that sends all before it reads hears why"
        for path in (SPEECH, "/v1/audio/voices"):
            kind = "application/json" if path == SPEECH else "multipart/form-data; boundary=x"
            answer = await client.post(path, content=in_chunks(), headers={"content-type": kind})
            assert answer.status_code == (413 if path == SPEECH else 400), "it is no form"


async def test_bodies_are_bounded_together(
    api: Api, connect: Connect, monkeypatch: pytest.MonkeyPatch, recording: bytes
) -> None:
    monkeypatch.setattr(bodies, "MOST_BYTES_PER_PERSON", 1_500)
    wires = [await connect(api) for _ in range(2)]
    line = f"POST {SPEECH} HTTP/1.1"
    await wires[0].sends(line, "content-length: 1000", body=b"{")
    await until(lambda: api.door._budget._held)
    await wires[1].sends(line, "content-length: 1000", "expect: 100-continue")
    status, headers, body = await wires[1].reads()
    assert (status, headers["retry-after"]) == (429, "5")
    assert json.loads(body)["error"]["code"] == "too_many_uploads"
    monkeypatch.undo()
    wires[0].writer.close()
    await saved(api, recording)


@pytest.mark.realtime
async def test_slow_clients_are_cut_off(
    api: Api, connect: Connect, monkeypatch: pytest.MonkeyPatch, recording: bytes
) -> None:
    monkeypatch.setattr(server, "SECONDS_FOR_HEADERS", 0.2)
    monkeypatch.setattr(server, "SECONDS_WITHOUT_READING", 0.2)
    monkeypatch.setattr(bodies, "SECONDS_WITHOUT_ANY", 0.2)
    silent, slow = [await connect(api) for _ in range(2)]
    slow.writer.write(b"GET /health HTTP/1.1\r\n")
    assert await silent.is_closed()
    assert await slow.is_closed()
    stuck = await connect(api)
    await stuck.sends(f"POST {SPEECH} HTTP/1.1", "content-length: 1000", "connection: close")
    status, _, body = await stuck.reads()
    assert (status, json.loads(body)["error"]["code"]) == (408, "body_too_slow")

    kept = await connect(api)
    await kept.sends("GET /health HTTP/1.1")
    assert b"200 OK" in await kept.reader.readuntil(b"\r\n\r\n")
    assert (await kept.reader.read()).endswith(b"}"), "closed, as no request follows"

    await saved(api, recording)
    deaf = await connect(api)
    body = json.dumps({"input": "word " * 800, "response_format": "wav"}).encode()
    await deaf.sends(
        f"POST {SPEECH} HTTP/1.1",
        f"content-length: {len(body)}",
        "content-type: application/json",
        body=body,
    )
    await deaf.reader.readuntil(b"200 OK")
    await until_nothing_runs(api)  # the speech was made, whether or not it is read
    await until(lambda: not api.door._requests)


async def test_a_body_with_two_lengths_ends_the_connection(api: Api, connect: Connect) -> None:
    wire = await connect(api)
    await wire.sends(
        f"POST {SPEECH} HTTP/1.1",
        "content-length: 5",
        "transfer-encoding: chunked",
        body=b"0\r\n\r\nGET /health HTTP/1.1\r\nhost: x\r\n\r\n",
    )
    status, headers, body = await wire.reads()
    assert (status, headers["connection"]) == (400, "close")
    assert json.loads(body)["error"]["code"] == "invalid_request", "and no second answer"


async def test_headers_are_bounded(api: Api, connect: Connect) -> None:
    wire = await connect(api)
    await wire.sends("GET /health HTTP/1.1", f"x: {'x' * 100_000}")
    status, _, _ = await wire.reads()
    assert status == 431
    wire = await connect(api)
    wire.writer.write(b"GET /health HTTP/1.1\r\n" + b"x" * 20_000)
    assert (await wire.reads())[0] == 400, "it isn't read to its end"


async def test_connections_are_bounded(
    api: Api, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 2)
    wires = [await connect(api) for _ in range(3)]
    assert await wires[2].is_closed()
    await wires[0].sends("GET /health HTTP/1.1", "connection: close")
    assert (await wires[0].reads())[0] == 200


async def test_a_restart_ends_requests_with_an_answer(
    tmp_path: Path, backend: ScriptedBackend, recording: bytes
) -> None:
    async with running_api(tmp_path, backend) as api, api.client() as client:
        await saved(api, recording)
        pause = Pause(backend, at=1)
        asking = asyncio.create_task(client.post(SPEECH, json={"input": "Hello."}))
        await pause.reached.wait()
        await api.context.requests.close(within=1)
        answer = await asking
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "restarting")
        answer = await client.post(SPEECH, json={"input": "Hello."})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "restarting")
        assert (await client.get("/ready")).status_code == 503
        assert (await client.get("/health")).status_code == 200
