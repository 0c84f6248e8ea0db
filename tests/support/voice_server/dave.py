"""The listeners of a call: the DAVE group for which the bot encrypts."""

from __future__ import annotations

from typing import NamedTuple

import davey

from tests.support.voice_server.mls import ExternalSender, vector

E2EE_MARKER = b"\xfa\xfa"
FIRST_LISTENER_ID = 42


class Change(NamedTuple):
    """What the bot is told when a listener joins or leaves.

    Attributes:
        proposals: The MLS proposals, for opcode 27.
        commit: A listener's commit, for opcode 29. The bot makes one too, but is never first here.
    """

    proposals: bytes
    commit: bytes


class Listener:
    """A listener, with a DAVE session of their own."""

    def __init__(
        self, gateway: ExternalSender, *, user_id: int, bot_id: int, channel_id: int
    ) -> None:
        self.session = davey.DaveSession(davey.DAVE_PROTOCOL_VERSION, user_id, channel_id)
        self.session.set_external_sender(gateway.package())
        self._bot_id = bot_id

    def decrypt(self, frame: bytes) -> bytes:
        """Return the Opus packet in an end-to-end encrypted frame of the bot.

        Raises `ValueError` if it was encrypted for others alone.
        """
        return self.session.decrypt(self._bot_id, davey.MediaType.audio, frame)


class Group:
    """A DAVE group with the bot in it, managed as Discord does.

    Every connection of the bot starts a new group. Each join or leave starts a new epoch.

    Attributes:
        listeners: The other members, oldest first; they commit every change.
        addressed: The listeners for whom the bot encrypts by now.
    """

    def __init__(self, gateway: ExternalSender, *, bot_id: int, channel_id: int) -> None:
        self._gateway = gateway
        self._bot_id = bot_id
        self._channel_id = channel_id
        self._next_id = FIRST_LISTENER_ID
        self.listeners = [self._someone()]
        self.addressed = tuple(self.listeners)

    def take_in_bot(self, key_package: bytes) -> bytes:
        """Start the group; return the MLS welcome that the bot needs (opcode 30)."""
        _, added = self._change(self._gateway.propose_to_add(key_package, self._channel_id, 0))
        assert added.welcome is not None
        return added.welcome

    def join(self) -> Change:
        """Add a listener."""
        newcomer = self._someone()
        key_package = newcomer.session.get_serialized_key_package()
        change, added = self._change(
            self._gateway.propose_to_add(key_package, self._channel_id, self._epoch)
        )
        assert added.welcome is not None
        newcomer.session.process_welcome(added.welcome)
        self.listeners.append(newcomer)
        return change

    def leave(self) -> Change:
        """Remove the oldest listener; another must be left."""
        epoch = self._epoch
        gone = self.listeners.pop(0)
        self.addressed = tuple(listener for listener in self.addressed if listener is not gone)
        leaf = gone.session.own_leaf_index
        assert leaf is not None
        change, _ = self._change(self._gateway.propose_to_remove(leaf, self._channel_id, epoch))
        return change

    def bot_has_followed(self) -> None:
        """Record that the bot has applied the last change, and encrypts for everybody."""
        self.addressed = tuple(self.listeners)

    @property
    def _epoch(self) -> int:
        return self.listeners[0].session.epoch or 0

    def _change(self, proposal: bytes) -> tuple[Change, davey.CommitWelcome]:
        """Let the first listener commit a proposal, and the others apply the commit."""
        proposals = vector(proposal)
        made = [
            listener.session.process_proposals(davey.ProposalsOperationType.append, proposals)
            for listener in self.listeners
        ]
        first = made[0]
        if first is None:
            raise AssertionError("the listener's DAVE library made no commit")
        for listener in self.listeners:
            listener.session.process_commit(first.commit)
        return Change(proposals, first.commit), first

    def _someone(self) -> Listener:
        self._next_id += 1
        return Listener(
            self._gateway,
            user_id=self._next_id,
            bot_id=self._bot_id,
            channel_id=self._channel_id,
        )


def is_encrypted(frame: bytes) -> bool:
    """Whether a frame is end-to-end encrypted; the silence after speech never is."""
    return frame.endswith(E2EE_MARKER)
