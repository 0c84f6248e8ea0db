"""Signs of life by UDP: whether what is sent to a voice server still gets there.

Discord's voice servers send reports, and send keep-alives back, as its own clients use them.
Neither is promised anywhere. So silence means something only on a line that had signs before.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import discord

if TYPE_CHECKING:
    from discord.voice_state import VoiceConnectionState

KEEPALIVE = bytes(8)
SECONDS_BETWEEN_KEEPALIVES = 1.0
SECONDS_WITHOUT_SIGN = 4.0
"""Silence for this long is a fault."""

SIGNS_TO_TRUST = 3
"""A server that sends no keep-alives back must have sent this many reports, at whatever pace."""

ANSWER_SECONDS = 1.0
SECONDS_BETWEEN_TRIES = 0.2
_LOOK_SECONDS = 0.01


class SignsOfLife:
    """Asks a voice server for signs while somebody speaks, and keeps account of them.

    Args:
        voice: The connection; of anything but a `discord.VoiceClient` no signs are expected.
        answers_expected: Whether keep-alives should be sent back from the beginning, because they
            were on the line before.

    Attributes:
        has_answered: Whether a keep-alive was sent back on this line.
        last: When the last sign came, or was first waited for, in the time of `time.perf_counter`.
    """

    def __init__(self, voice: object, *, answers_expected: bool = False) -> None:
        self.last = 0.0
        self.has_answered = False
        self._count = 0
        self._expected = False
        self._longest_wait = 0.0
        self._answers_expected = answers_expected
        self._asked = 0.0
        self._state: VoiceConnectionState | None = None
        if isinstance(voice, discord.VoiceClient):  # which offers no public way to its UDP socket
            self._state = voice._connection  # noqa: SLF001
            self._state.add_socket_listener(self._received)
            if self._state._runner is not None:  # noqa: SLF001
                self._state._runner.add_done_callback(_take_note)  # noqa: SLF001

    @property
    def was_asked(self) -> bool:
        """Whether a keep-alive was sent on this line."""
        return self._asked > 0

    @property
    def _should_answer(self) -> bool:
        return self.has_answered or (self._answers_expected and self._state is not None)

    def expect(self) -> None:
        """From now on signs are asked for, and should come."""
        self.last = time.perf_counter()
        self._expected = True

    def expect_none(self) -> None:
        """Nobody asks for signs any more."""
        self._expected = False

    def lost_since(self) -> float | None:
        """When the last sign came, if there should have been another by now; asks for the next."""
        now = time.perf_counter()
        if now - self._asked >= SECONDS_BETWEEN_KEEPALIVES:
            self._ask()
        if self._should_answer:
            patience = SECONDS_WITHOUT_SIGN
        elif self._count >= SIGNS_TO_TRUST:
            patience = max(SECONDS_WITHOUT_SIGN, 3 * self._longest_wait)
        else:
            return None
        return self.last if now - self.last > patience else None

    async def come(self) -> bool:
        """Whether the server answers now; True at once of one that never has.

        Where it does, that takes as long as a packet's way there and back.
        """
        if not self._should_answer:
            return True
        began = time.perf_counter()
        while time.perf_counter() - began < ANSWER_SECONDS:
            if time.perf_counter() - self._asked >= SECONDS_BETWEEN_TRIES or self._asked < began:
                self._ask()
            await asyncio.sleep(_LOOK_SECONDS)
            if self.last > began:
                return True
        return False

    def close(self) -> None:
        """Listen no more."""
        if self._state is not None:
            self._state.remove_socket_listener(self._received)

    def _received(self, packet: bytes) -> None:
        """Called by discord.py's socket reader thread."""
        now = time.perf_counter()
        if self._expected:
            self._longest_wait = max(self._longest_wait, now - self.last)
        self.has_answered |= len(packet) == len(KEEPALIVE)
        self.last = now
        self._count += 1

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        if self._state is not None:
            with suppress(OSError):
                self._state.send_packet(KEEPALIVE)


def _take_note(poller: asyncio.Task[None]) -> None:
    """Look at how discord.py's poller ended, which it leaves to nobody, lest asyncio complain."""
    if not poller.cancelled():
        poller.exception()
