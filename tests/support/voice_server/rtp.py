"""What goes by UDP: RTP packets, IP discovery, pings and RTCP reports."""

from __future__ import annotations

import secrets
import struct
from typing import TYPE_CHECKING, NamedTuple

import nacl.secret

if TYPE_CHECKING:
    from tests.support.voice_server.dave import Listener

ENCRYPTION_MODE = "aead_xchacha20_poly1305_rtpsize"
KEY_BYTES = nacl.secret.Aead.KEY_SIZE
HEADER_BYTES = 12
NONCE_COUNTER_BYTES = 4
NONCE_BYTES = nacl.secret.Aead.NONCE_SIZE

DISCOVERY_BYTES = 74
DISCOVERY_REQUEST = 1
DISCOVERY_ANSWER = 2
PING = bytes.fromhex("1337CAFE")
PONG = bytes.fromhex("1337F00D")
PING_BYTES = 8

VERSION_2_NO_EXTRAS = 0x80
VERSION_2_WITH_EXTENSION = 0x90
VERSION_2_ONE_BLOCK = 0x81
OPUS_PAYLOAD = 0x78
RTCP_SENDER_REPORT = 200
RTCP_RECEIVER_REPORT = 201
TAG_BYTES = 16


class Packet(NamedTuple):
    """A speech packet that arrived.

    Attributes:
        arrived: When, as `time.time()` counts; taken by the kernel where it can.
        connection: The number of the bot's connection to this call, from 0.
        channel_id: The voice channel that the connection led to.
        data: The whole packet, still encrypted.
        key: The transport key of that connection.
        is_secret: Whether it had to be end-to-end encrypted, because there were listeners.
        listeners: The listeners for whom the bot encrypted then, as far as the server knew.
    """

    arrived: float
    connection: int
    channel_id: int | None
    data: bytes
    key: bytes
    is_secret: bool
    listeners: tuple[Listener, ...]

    @property
    def sequence(self) -> int:
        """The RTP sequence number, which wraps at 65,535."""
        return int.from_bytes(self.data[2:4], "big")

    def frame(self) -> bytes:
        """Remove the transport encryption; raise `nacl.exceptions.CryptoError` if that fails.

        The nonce is a counter in the packet's last four bytes; the header is authenticated with it.
        """
        header, body = self.data[:HEADER_BYTES], self.data[HEADER_BYTES:-NONCE_COUNTER_BYTES]
        nonce = self.data[-NONCE_COUNTER_BYTES:].ljust(NONCE_BYTES, b"\0")
        return nacl.secret.Aead(self.key).decrypt(body, header, nonce)


def is_speech(data: bytes) -> bool:
    """Whether a datagram is an RTP packet that contains Opus."""
    return (
        len(data) > HEADER_BYTES + NONCE_COUNTER_BYTES
        and data[0] == VERSION_2_NO_EXTRAS
        and data[1] == OPUS_PAYLOAD
    )


def is_discovery(data: bytes) -> bool:
    """Whether a datagram asks for the sender's own address."""
    return len(data) == DISCOVERY_BYTES and data[:2] == DISCOVERY_REQUEST.to_bytes(2, "big")


def source(data: bytes) -> int:
    """The SSRC in a speech or discovery packet."""
    offset = 4 if is_discovery(data) else 8
    return int.from_bytes(data[offset : offset + 4], "big")


def discovery_answer(ssrc: int, host: str, port: int) -> bytes:
    """The answer to IP discovery: the address that the server sees the client at."""
    size = DISCOVERY_BYTES - 4
    return struct.pack(">HHI64sH", DISCOVERY_ANSWER, size, ssrc, host.encode(), port)


def is_ping(data: bytes) -> bool:
    """Whether a datagram is a native client's ping."""
    return len(data) == PING_BYTES and data.startswith(PING)


def pong(ping: bytes) -> bytes:
    """The answer to a ping: another beginning, and the same counter."""
    return PONG + ping[len(PING) :]


def someones_speech(ssrc: int, sequence: int) -> bytes:
    """A packet of another member, which the bot has no use for: its contents are random."""
    head = struct.pack(
        ">BBHII",
        VERSION_2_WITH_EXTENSION,
        OPUS_PAYLOAD,
        sequence % (1 << 16),
        sequence * 960 % (1 << 32),
        ssrc,
    )
    return head + secrets.token_bytes(80 + secrets.randbelow(80))


def sender_report(ssrc: int) -> bytes:
    """A report on what a member sends; encrypted after the SSRC, like all RTCP."""
    head = struct.pack(">BBHI", VERSION_2_NO_EXTRAS, RTCP_SENDER_REPORT, 6, ssrc)
    return head + secrets.token_bytes(20 + TAG_BYTES + NONCE_COUNTER_BYTES)


def receiver_report(ssrc: int) -> bytes:
    """A report on what arrived of the bot's speech: one block, encrypted after the SSRC."""
    head = struct.pack(">BBHI", VERSION_2_ONE_BLOCK, RTCP_RECEIVER_REPORT, 7, ssrc)
    return head + secrets.token_bytes(24 + TAG_BYTES + NONCE_COUNTER_BYTES)
