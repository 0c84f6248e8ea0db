"""The MLS messages (RFC 9420) that Discord's voice gateway writes in a DAVE group.

Discord is no member of the group. It is the group's "external sender", which may propose that
someone is added; see https://daveprotocol.com and sections 6, 7 and 12 of the RFC. Everything else
is written by the members' own DAVE libraries.
"""

from __future__ import annotations

import struct

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

MLS_1_0 = 1
WIRE_FORMAT_PUBLIC_MESSAGE = 1
SENDER_EXTERNAL = 2
CONTENT_PROPOSAL = 2
PROPOSAL_ADD = 1
PROPOSAL_REMOVE = 3
CREDENTIAL_BASIC = 1


class ExternalSender:
    """Discord's role in a DAVE group: a key that members accept proposals from."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    def package(self) -> bytes:
        """The `ExternalSender` structure, as sent with opcode 25."""
        point = self._key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        credential = struct.pack(">H", CREDENTIAL_BASIC) + vector(b"loopback voice gateway")
        return vector(point) + credential

    def propose_to_add(self, key_package: bytes, group_id: int, epoch: int) -> bytes:
        """A signed proposal to add someone: an `MLSMessage`, as sent with opcode 27.

        Args:
            key_package: Of the one who is to be added, as they sent it with opcode 26.
            group_id: The voice channel's id.
            epoch: The group's current one; a group that has not begun is in epoch 0.
        """
        return self._signed(struct.pack(">H", PROPOSAL_ADD) + key_package, group_id, epoch)

    def propose_to_remove(self, leaf: int, group_id: int, epoch: int) -> bytes:
        """The same to remove someone, given by their leaf in the group's tree."""
        return self._signed(struct.pack(">HI", PROPOSAL_REMOVE, leaf), group_id, epoch)

    def _signed(self, proposal: bytes, group_id: int, epoch: int) -> bytes:
        content = b"".join(
            [
                vector(struct.pack(">Q", group_id)),
                struct.pack(">Q", epoch),
                struct.pack(">BI", SENDER_EXTERNAL, 0),
                vector(b""),  # authenticated data
                struct.pack(">B", CONTENT_PROPOSAL),
                proposal,
            ]
        )
        head = struct.pack(">HH", MLS_1_0, WIRE_FORMAT_PUBLIC_MESSAGE)
        signed = vector(b"MLS 1.0 FramedContentTBS") + vector(head + content)
        signature = self._key.sign(signed, ec.ECDSA(hashes.SHA256()))
        return head + content + vector(signature)


def vector(data: bytes) -> bytes:
    """Bytes behind their length, which takes 1, 2 or 4 bytes (RFC 9420, section 2.1.2)."""
    length = len(data)
    if length < 1 << 6:
        return struct.pack(">B", length) + data
    if length < 1 << 14:
        return struct.pack(">H", length | 0x4000) + data
    return struct.pack(">I", length | 0x8000_0000) + data
