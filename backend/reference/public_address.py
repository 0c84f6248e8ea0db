"""Host names that lead to the public internet, and nowhere else."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from backend.contract import ReferenceUnusableError

if TYPE_CHECKING:
    from collections.abc import Callable

_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        # addresses that lead on to an IPv4 one, which could be any
        "::/96",  # RFC 4291: compatible
        "::ffff:0:0/96",  # RFC 4291: mapped
        "::ffff:0:0:0/96",  # RFC 2765: translated without state
        "64:ff9b::/96",  # RFC 6052: translated
        "64:ff9b:1::/48",  # RFC 8215: translated locally
        "2001::/32",  # RFC 4380: Teredo
        "2002::/16",  # RFC 3056: 6to4
        "192.88.99.0/24",  # RFC 7526: 6to4's relays
        # what Python takes for global, or did until lately
        "3fff::/20",  # RFC 9637: documentation
        "5f00::/16",  # RFC 9602: segment routing
        "fec0::/10",  # RFC 3879: site-local
    )
)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet's; anything unreadable is not."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if parsed.is_multicast or not parsed.is_global:
        return False
    return not any(parsed in network for network in _NOT_PUBLIC)


class PublicResolver(AbstractResolver):
    """Resolves names whose addresses are all public, and refuses others.

    The client connects to the very addresses that it is given here, so a name cannot mean one
    address when it is checked and another one afterwards.

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
