"""A listener in a call: the other member of the DAVE group, for whom the bot encrypts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import davey

from tests.support.voice_server.mls import vector

if TYPE_CHECKING:
    from tests.support.voice_server.mls import ExternalSender

E2EE_MARKER = b"\xfa\xfa"


class Listener:
    """Someone who hears the bot, with a DAVE session of their own.

    The group begins anew with every connection of the bot, and so does the listener.
    """

    def __init__(
        self, gateway: ExternalSender, *, user_id: int, bot_id: int, channel_id: int
    ) -> None:
        self._gateway = gateway
        self._bot_id = bot_id
        self._channel_id = channel_id
        self._session = davey.DaveSession(davey.DAVE_PROTOCOL_VERSION, user_id, channel_id)
        self._session.set_external_sender(gateway.package())

    def welcome(self, key_package: bytes) -> bytes:
        """Take the bot into the group; return the MLS welcome that it needs (opcode 30)."""
        proposal = self._gateway.propose_to_add(key_package, group_id=self._channel_id)
        added = self._session.process_proposals(
            davey.ProposalsOperationType.append, vector(proposal), [self._bot_id]
        )
        if added is None or added.welcome is None:
            raise AssertionError("the listener's DAVE library made no commit")
        self._session.process_commit(added.commit)
        return added.welcome

    def decrypt(self, frame: bytes) -> bytes:
        """Return the Opus packet in an end-to-end encrypted frame of the bot."""
        return self._session.decrypt(self._bot_id, davey.MediaType.audio, frame)


def is_encrypted(frame: bytes) -> bool:
    """Whether a frame is end-to-end encrypted; the silence after speech never is."""
    return frame.endswith(E2EE_MARKER)
