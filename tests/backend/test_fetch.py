"""Reference audio is fetched from public https addresses, and nothing else is ever asked."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer

from backend.contract import ReferenceUnusableError
from backend.fetch import MAX_REDIRECTS, PublicResolver, fetch_audio, is_public
from backend.sent_audio import MAX_AUDIO_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp.typedefs import Handler

LOOPBACK = "127.0.0.1"
CLIP = b"RIFF not really" * 100
CERTIFICATE = Path(__file__).with_name("loopback.pem")


class Names(AbstractResolver):
    """A name service whose answers a test decides; what is not in it is on loopback."""

    def __init__(self) -> None:
        self.addresses: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, _family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked.append(host)
        answers = self.addresses.get(host, [[LOOPBACK]])
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


@dataclass
class Site:
    """A web site on loopback, whose address counts as public.

    Attributes:
        port: Where it listens.
        names: Who is where.
        tls: Trusts it.
        requests: The paths that were asked for, and with which headers.
    """

    port: int
    names: Names
    tls: ssl.SSLContext
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def url(self, path: str, host: str = "clips.example") -> str:
        return f"https://{host}:{self.port}{path}"

    async def fetch(self, address: str, max_seconds: float = 5.0) -> bytes:
        resolver = PublicResolver(
            self.names, is_allowed=lambda address: address == LOOPBACK or is_public(address)
        )
        return await fetch_audio(address, resolver=resolver, tls=self.tls, max_seconds=max_seconds)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    sites: list[Site] = []

    @web.middleware
    async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
        sites[0].requests.append((request.path, dict(request.headers)))
        return await handler(request)

    app = web.Application(middlewares=[note])
    app.add_routes(
        [
            web.get("/clip.wav", _clip),
            web.get("/to", _redirect),
            web.get("/again", _redirect_for_ever),
            web.get("/endless", _endless),
            web.get("/announced", _announced),
            web.get("/slow", _slow),
            web.get("/zipped", _zipped),
        ]
    )
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(CERTIFICATE)
    server = TestServer(app, host=LOOPBACK)
    await server.start_server(ssl=server_side)
    assert server.port is not None
    client_side = ssl.create_default_context(cafile=CERTIFICATE)
    sites.append(Site(server.port, Names(), client_side))
    yield sites[0]
    await server.close()


async def _clip(_request: web.Request) -> web.Response:
    return web.Response(body=CLIP, content_type="audio/wav")


async def _redirect(request: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": request.query["url"]})


async def _redirect_for_ever(_request: web.Request) -> web.Response:
    return web.Response(status=307, headers={"Location": "/again"})


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    with suppress(ConnectionError):
        while True:
            await response.write(bytes(1 << 20))
    return response


async def _announced(_request: web.Request) -> web.StreamResponse:
    return web.Response(body=bytes(MAX_AUDIO_BYTES + 1))


async def _slow(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    with suppress(ConnectionError):
        for _ in range(100):
            await response.write(b"RIFF")
            await asyncio.sleep(0.05)
    return response


async def _zipped(_request: web.Request) -> web.Response:
    return web.Response(body=gzip.compress(bytes(1 << 20)), headers={"Content-Encoding": "gzip"})


async def test_a_clip_is_fetched_over_https(site: Site) -> None:
    assert await site.fetch(site.url("/clip.wav?ex=66&is=64&hm=0af#t")) == CLIP
    [(_, headers)] = site.requests
    assert not headers.keys() & {"Cookie", "Authorization", "Referer"}


async def test_redirects_are_followed_within_reason(site: Site) -> None:
    elsewhere = site.url("/clip.wav", "cdn.example")
    assert await site.fetch(site.url(f"/to?url={elsewhere}")) == CLIP
    assert await site.fetch(site.url("/to?url=clip.wav")) == CLIP
    with pytest.raises(ReferenceUnusableError, match="redirects too often"):
        await site.fetch(site.url("/again"))
    assert [path for path, _ in site.requests].count("/again") == MAX_REDIRECTS + 1


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("http://clips.example/clip.wav", "https"),
        ("file:///etc/passwd", "https"),
        ("ftp://clips.example/clip.wav", "https"),
        ("https:///clip.wav", "https"),
        ("://", "https"),
        ("https://user@clips.example/clip.wav", "user name"),
        ("https://user:secret@clips.example/clip.wav", "user name"),
        ("https://127.0.0.1/clip.wav", "IP address"),
        ("https://8.8.8.8/clip.wav", "IP address"),
        ("https://2130706433/clip.wav", "IP address"),
        ("https://[::1]/clip.wav", "IP address"),
        ("https://[::ffff:127.0.0.1]/clip.wav", "IP address"),
        ("https://[::ffff:7f00:1]/clip.wav", "IP address"),
        ("https://[fe80::1%25eth0]/clip.wav", "IP address"),
        ("https://clips.example:99999/clip.wav", "could not be read"),
        ("https://[clips.example/clip.wav", "could not be read"),
        ("https://clips.example/" + "a" * 2_048, "too long"),
    ],
)
async def test_what_is_no_public_https_address_is_refused_unasked(
    site: Site, address: str, problem: str
) -> None:
    with pytest.raises(ReferenceUnusableError, match=problem):
        await site.fetch(address)
    assert not site.names.asked


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.2"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["::1"],
        ["::ffff:10.0.0.1"],
        [LOOPBACK, "10.0.0.1"],
        ["fd00::1", LOOPBACK],
    ],
)
async def test_a_name_with_any_private_address_is_not_connected_to(
    site: Site, addresses: list[str]
) -> None:
    site.names.addresses["inside.example"] = [addresses]
    with pytest.raises(ReferenceUnusableError, match="public internet"):
        await site.fetch(site.url("/clip.wav", "inside.example"))
    assert not site.requests


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("https://inside.example/clip.wav", "public internet"),
        ("http://clips.example/clip.wav", "https"),
        ("//127.0.0.1/clip.wav", "IP address"),
        ("https://user:secret@clips.example/", "user name"),
        ("file:///etc/passwd", "https"),
        ("", "redirects too often"),
    ],
)
async def test_a_redirect_leads_nowhere_that_the_address_itself_could_not(
    site: Site, target: str, problem: str
) -> None:
    site.names.addresses["inside.example"] = [["192.168.0.1"]]
    with pytest.raises(ReferenceUnusableError, match=problem):
        await site.fetch(site.url(f"/to?url={target}"))
    assert {path for path, _ in site.requests} == {"/to"}


async def test_a_name_is_asked_once_for_each_connection(site: Site) -> None:
    """Otherwise it could be public when it is checked, and private when it is connected to."""
    site.names.addresses["turning.example"] = [[LOOPBACK], ["10.0.0.1"]]
    assert await site.fetch(site.url("/clip.wav", "turning.example")) == CLIP
    assert site.names.asked == ["turning.example"]
    with pytest.raises(ReferenceUnusableError, match="public internet"):
        await site.fetch(site.url("/clip.wav", "turning.example"))


async def test_the_machine_itself_is_not_asked_by_its_name(site: Site) -> None:
    with pytest.raises(ReferenceUnusableError, match="public internet"):
        await fetch_audio(site.url("/clip.wav", "localhost"), tls=site.tls)
    assert not site.requests


async def test_an_unknown_certificate_is_not_trusted(site: Site) -> None:
    site.tls = ssl.create_default_context()
    with pytest.raises(ReferenceUnusableError, match="could not be read"):
        await site.fetch(site.url("/clip.wav"))
    assert not site.requests


@pytest.mark.parametrize("path", ["/endless", "/announced"])
async def test_too_large_a_file_is_not_read_to_its_end(site: Site, path: str) -> None:
    with pytest.raises(ReferenceUnusableError, match="16 MiB"):
        await site.fetch(site.url(path))


async def test_a_compressed_answer_is_not_unpacked(site: Site) -> None:
    assert len(await site.fetch(site.url("/zipped"))) < 10_000


async def test_a_slow_answer_is_given_up(site: Site) -> None:
    began = time.monotonic()
    with pytest.raises(ReferenceUnusableError, match="too long to answer"):
        await site.fetch(site.url("/slow"), max_seconds=0.3)
    assert time.monotonic() - began < 4  # all of it takes 5 s


async def test_a_missing_file_and_a_missing_server_are_said_without_the_address(
    site: Site,
) -> None:
    with pytest.raises(ReferenceUnusableError, match="status 404"):
        await site.fetch(site.url("/nothing"))
    with pytest.raises(ReferenceUnusableError) as refusal:
        await site.fetch("https://clips.example:9/secret-token")
    assert "secret" not in str(refusal.value)
    assert "clips" not in str(refusal.value)
