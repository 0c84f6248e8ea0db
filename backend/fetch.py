"""Downloads a recording from an address that a caller sent. The bot's HTTP API uses it, too.

The address is not trusted: only https and only public IP addresses are used, and size, time and
redirects are bounded.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING

from aiohttp import ClientError, ClientSession, DummyCookieJar, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from backend.contract import ReferenceUnusableError
from backend.sent_audio import MAX_ADDRESS_CHARACTERS, MAX_AUDIO_BYTES, AudioTooLargeError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from aiohttp import ClientResponse

MAX_REDIRECTS = 3
MAX_SECONDS = 20.0
"""For the whole download, redirects included."""

_REDIRECTS = {301, 302, 303, 307, 308}
_OK = 200
_PIECE_BYTES = 64 * 1024
_HEADERS = {
    "Accept": "audio/*, application/octet-stream;q=0.5",
    "Accept-Encoding": "identity",  # so that the bytes counted are the bytes that arrive
}
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        # IPv6 addresses that lead to an IPv4 one, which could be any
        "::/96",  # RFC 4291: compatible
        "::ffff:0:0/96",  # RFC 4291: mapped
        "::ffff:0:0:0/96",  # RFC 2765: translated without state
        "64:ff9b::/96",  # RFC 6052: translated
        "64:ff9b:1::/48",  # RFC 8215: translated locally
        "2001::/32",  # RFC 4380: Teredo
        "2002::/16",  # RFC 3056: 6to4
        "192.88.99.0/24",  # RFC 7526: relays of 6to4
        # networks that Python's ipaddress counts as global, or did in older versions
        "3fff::/20",  # RFC 9637: documentation
        "5f00::/16",  # RFC 9602: segment routing
        "fec0::/10",  # RFC 3879: site-local
    )
)


def is_public(address: str) -> bool:
    """Whether this is an IP address of the public internet."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if parsed.is_multicast or not parsed.is_global:
        return False
    return not any(parsed in network for network in _NOT_PUBLIC)


class PublicResolver(AbstractResolver):
    """Resolves host names whose IP addresses are all public, and refuses others.

    The client connects to exactly the addresses that this returns, so the name cannot resolve to
    another address between the check and the connection (DNS rebinding).

    Args:
        resolver: Does the resolving; None is the system's.
        is_allowed: Tells whether an address may be connected to.
    """

    def __init__(
        self,
        resolver: AbstractResolver | None = None,
        is_allowed: Callable[[str], bool] = is_public,
    ) -> None:
        self._resolver = resolver or ThreadedResolver()
        self._is_allowed = is_allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Resolve a name. Raises `ReferenceUnusableError` if any of its addresses is not public."""
        results = await self._resolver.resolve(host, port, family)
        if not all(self._is_allowed(result["host"]) for result in results):
            raise ReferenceUnusableError("its address does not lead to the public internet")
        return results

    async def close(self) -> None:
        """Release the resolver."""
        await self._resolver.close()


async def fetch_audio(
    address: str,
    *,
    resolver: AbstractResolver | None = None,
    tls: ssl.SSLContext | None = None,
    max_seconds: float = MAX_SECONDS,
) -> bytes:
    """Download a file of at most `MAX_AUDIO_BYTES`.

    Each of at most `MAX_REDIRECTS` redirects is checked like the address itself. No cookies,
    proxies or credentials are used.

    Args:
        address: An https URL, not trusted.
        resolver: Resolves host names; None allows public IP addresses only.
        tls: Which certificates to trust; None trusts the public authorities.
        max_seconds: How long the whole download may take.

    Raises `ReferenceUnusableError`, with a reason that does not quote the address.
    """
    try:
        async with (
            asyncio.timeout(max_seconds),
            TCPConnector(
                resolver=resolver or PublicResolver(), use_dns_cache=False, ssl=tls or True
            ) as connector,
            ClientSession(
                connector=connector, cookie_jar=DummyCookieJar(), auto_decompress=False
            ) as session,
        ):
            return await _follow(_checked(address), session)
    except TimeoutError:
        raise ReferenceUnusableError("its address took too long to answer") from None
    except (ClientError, OSError, ValueError) as error:
        # The error's text would quote the address, which may hold a secret.
        problem = type(error).__name__
        raise ReferenceUnusableError(f"its address could not be read ({problem})") from None


async def _follow(url: URL, session: ClientSession) -> bytes:
    for _ in range(MAX_REDIRECTS + 1):
        async with session.get(url, headers=_HEADERS, allow_redirects=False) as response:
            if response.status not in _REDIRECTS:
                return await _read(response)
            url = _checked(str(url.join(URL(response.headers.get("Location", "")))))
    raise ReferenceUnusableError("its address redirects too often")


def _checked(address: str) -> URL:
    """Parse an address. Raises `ReferenceUnusableError` if it must not be requested."""
    if len(address) > MAX_ADDRESS_CHARACTERS:
        raise ReferenceUnusableError("its address is too long")
    url = URL(address)
    if url.scheme != "https" or not url.host:
        raise ReferenceUnusableError("its address must begin with https://")
    if url.user is not None or url.password is not None:
        raise ReferenceUnusableError("its address must not hold a user name or password")
    # The client connects to a bare IP address without asking the resolver, which does the check.
    if ":" in url.host or url.host.replace(".", "").isdigit():
        raise ReferenceUnusableError("its address must name a host, not an IP address")
    return url


async def _read(response: ClientResponse) -> bytes:
    if response.status != _OK:
        raise ReferenceUnusableError(f"its address answered with status {response.status}")
    if (response.content_length or 0) > MAX_AUDIO_BYTES:
        raise AudioTooLargeError
    file = bytearray()
    async for piece in response.content.iter_chunked(_PIECE_BYTES):
        file += piece
        if len(file) > MAX_AUDIO_BYTES:
            raise AudioTooLargeError
    return bytes(file)
