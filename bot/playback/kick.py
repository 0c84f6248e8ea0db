"""Whether somebody has disconnected the bot from voice, or it was an accident."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# https://discord.com/developers/docs/topics/opcodes-and-status-codes#voice
ENDED_ON_PURPOSE = {None, 1000, 4014, 4022}
"""How the websocket was closed, if it is yet, when somebody disconnected the bot."""


class Expulsion:
    """Judges by what else is known when Discord shows the bot in no channel any more.

    Args:
        patience: How many seconds discord.py tries to connect before it leaves by itself.

    Attributes:
        happened: Somebody has disconnected the bot since it last began to connect.
        has_arrived: Discord has shown it in a channel since then.
    """

    def __init__(self, *, patience: float) -> None:
        self.happened = False
        self.has_arrived = False
        self._patience = patience
        self._connecting_since: float | None = None

    @contextmanager
    def while_connecting(self) -> Iterator[None]:
        """Discord.py connects in this block."""
        self.happened = self.has_arrived = False
        self._connecting_since = time.monotonic()
        try:
            yield
        finally:
            self._connecting_since = None

    def is_shown_inside(self) -> None:
        """Discord shows the bot in a channel."""
        self.has_arrived = True

    def is_shown_outside(self, close_code: int | None) -> None:
        """Discord shows the bot in none.

        Args:
            close_code: How the websocket of the connection was closed, if there is one and it is.
                After an accident discord.py leaves the channel too, but this comes first.
        """
        if self._connecting_since is None:
            self.happened |= close_code in ENDED_ON_PURPOSE
        elif self.has_arrived:  # else this is news of an earlier connection
            self.happened |= time.monotonic() - self._connecting_since < self._patience
