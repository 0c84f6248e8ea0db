"""Who wants to do what: what `Policy.check` decides about."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


@dataclass(frozen=True, slots=True)
class OperatorRules:
    """What whoever runs the bot decided about who may use it.

    Attributes:
        operators: The Discord ids of the people who run the bot.
        allowed_servers: The ids of the servers that may use it; empty for all.
        direct_messages: Whether it takes commands in direct messages.
        warm_servers: The ids of the servers whose managers may do what costs money, too.
    """

    operators: frozenset[int] = frozenset()
    allowed_servers: frozenset[int] = frozenset()
    direct_messages: bool = True
    warm_servers: frozenset[int] = frozenset()

    def allows_server(self, guild_id: int) -> bool:
        """Whether a server may use the bot."""
        return not self.allowed_servers or guild_id in self.allowed_servers


class Action(Enum):
    """The kinds of things that people do with the bot."""

    OWN = auto()
    """Look after what is one's own: see it, stop it, delete it, read the help. Always allowed."""

    SPEAK = auto()
    """Let a voice speak, or bring the bot into a voice channel."""

    CLONE = auto()
    """Make a voice, or make it anew."""

    REPORT = auto()
    """Report speech, or claim a voice."""

    MANAGE = auto()
    """Decide for a server: its settings, its moderation, its dictionary."""

    OPERATE = auto()
    """Spend the operator's money, such as keeping the voice engine awake."""

    OTHER = auto()
    """Everything else, such as renaming a voice."""


@dataclass(frozen=True, slots=True)
class Actor:
    """A person who does something somewhere.

    Attributes:
        user_id: The person's Discord id.
        guild_id: The server, or None in a direct message.
        channel_id: The channel; of a thread, the channel that it belongs to. None if not known.
        role_ids: The ids of the member's roles there, without the role that everyone has; None
            while they aren't known, because Discord has not sent the server yet.
        is_manager: Whether the member has the Manage Server permission there, in the member's
            own right, as Discord says with the command.
        uses_api: Whether the person asks over the HTTP API. Then there is a server only for a voice
            that is shared with them there by name, and neither channel nor roles are known.
    """

    user_id: int
    guild_id: int | None = None
    channel_id: int | None = None
    role_ids: frozenset[int] | None = frozenset()
    is_manager: bool = False
    uses_api: bool = False
