"""No address that is not on the public internet passes for one, however it is written."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.fetch import is_public


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "47.246.23.1", "2606:4700::1111", "2a00:1450:4001:80b::200e"]
)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",  # noqa: S104 - nothing listens there
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",  # where clouds keep a machine's credentials
        "100.64.0.1",
        "192.0.2.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fec0::1",
        "3fff::1",
        "5f00::1",
        "::ffff:0:127.0.0.1",
        "192.88.99.1",
        "ff02::1",
        "2001:db8::1",
        "",
        "localhost",
        "8.8.8",
    ],
)
def test_anything_else_is_not(address: str) -> None:
    assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_passes_inside_an_ipv6_one(address: IPv4Address) -> None:
    number = int(address)
    disguises = [
        number,
        0xFFFF << 32 | number,
        0x64FF9B << 96 | number,
        0x64FF9B0001 << 80 | number,
        0x2001 << 112 | number ^ 0xFFFFFFFF,
        0x2002 << 112 | number << 80 | 1,
    ]
    for disguise in disguises:
        assert not is_public(str(IPv6Address(disguise)))
