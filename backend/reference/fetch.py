"""Reference audio from an address that somebody sent: https, public, and bounded in every way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import ClientError, ClientSession, DummyCookieJar, TCPConnector
from yarl import URL

from backend.contract import ReferenceUnusableError
from backend.reference.audio import MAX_ADDRESS_CHARACTERS, MAX_AUDIO_BYTES
from backend.reference.public_address import PublicResolver

if TYPE_CHECKING:
    import ssl

    from aiohttp import ClientResponse
    from aiohttp.abc import AbstractResolver

MAX_REDIRECTS = 3
MAX_SECONDS = 20.0
"""For everything, redirects included."""

_REDIRECTS = {301, 302, 303, 307, 308}
_OK = 200
_PIECE_BYTES = 64 * 1024
_HEADERS = {
    "Accept": "audio/*, application/octet-stream;q=0.5",
    "Accept-Encoding": "identity",  # what is counted is what arrives
}


async def fetch_audio(
    address: str,
    *,
    resolver: AbstractResolver | None = None,
    tls: ssl.SSLContext | None = None,
    max_seconds: float = MAX_SECONDS,
) -> bytes:
    """Download a file of at most `MAX_AUDIO_BYTES`.

    Only https is spoken, only public addresses are connected to, and that holds for each of at most
    `MAX_REDIRECTS` redirects. No cookies, proxies or credentials are used.

    Args:
        address: From whoever sent it.
        resolver: Turns names into addresses that may be connected to; None allows public ones.
        tls: Which certificates are trusted; None is the public authorities'.
        max_seconds: How long it may take in all.

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
    """Parse an address, or raise `ReferenceUnusableError` for one that is not to be asked."""
    if len(address) > MAX_ADDRESS_CHARACTERS:
        raise ReferenceUnusableError("its address is too long")
    url = URL(address)
    if url.scheme != "https" or not url.host:
        raise ReferenceUnusableError("its address must begin with https://")
    if url.user is not None or url.password is not None:
        raise ReferenceUnusableError("its address must not hold a user name or password")
    # The client connects to a bare IP address without asking the resolver, which is what checks.
    if ":" in url.host or url.host.replace(".", "").isdigit():
        raise ReferenceUnusableError("its address must name a host, not an IP address")
    return url


async def _read(response: ClientResponse) -> bytes:
    if response.status != _OK:
        raise ReferenceUnusableError(f"its address answered with status {response.status}")
    too_large = ReferenceUnusableError(f"it has more than {MAX_AUDIO_BYTES >> 20} MiB")
    if (response.content_length or 0) > MAX_AUDIO_BYTES:
        raise too_large
    file = bytearray()
    async for piece in response.content.iter_chunked(_PIECE_BYTES):
        file += piece
        if len(file) > MAX_AUDIO_BYTES:
            raise too_large
    return bytes(file)
