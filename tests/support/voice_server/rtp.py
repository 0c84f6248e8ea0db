"""RTP packets as discord.py sends them, and IP discovery."""

from __future__ import annotations

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
KEEPALIVE_BYTES = 8

VERSION_2_NO_EXTRAS = 0x80
OPUS_PAYLOAD = 0x78
RTCP_SENDER_REPORT = 200


class Packet(NamedTuple):
    """A speech packet that arrived.

    Attributes:
        arrived: When, as `time.time()` counts; taken by the kernel where it can.
        connection: The number of the bot's connection to this call, from 0.
        data: The whole packet, still encrypted.
        key: The transport key of that connection.
        is_secret: Whether it had to be end-to-end encrypted, because there were listeners.
        listeners: The listeners for whom the bot encrypted then, as far as the server knew.
    """

    arrived: float
    connection: int
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


def sender_report(ssrc: int) -> bytes:
    """An empty RTCP sender report; it shows the client that UDP works."""
    return struct.pack(">BBHI20x", VERSION_2_NO_EXTRAS, RTCP_SENDER_REPORT, 6, ssrc)
