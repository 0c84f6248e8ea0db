"""Signs of life by UDP: whether what is sent to a voice server still gets there.

Discord's voice servers send reports, and send keep-alives back, as its own clients use them.
Neither is promised anywhere. So silence means something only on a line that had signs before.
Where keep-alives come back, speech is known to have arrived until the last of them, and no longer.
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
DISCOVERY_BYTES = 74
"""https://discord.com/developers/docs/topics/voice-connections#ip-discovery"""

SECONDS_BETWEEN_KEEPALIVES = 0.2
"""After a drop, speech goes on from the last answer: this much is then said twice at the most."""

SECONDS_WITHOUT_SIGN = 4.0
"""Silence for this long is a fault."""

UNANSWERED_IN_A_ROW = 3
"""If so many keep-alives got no answer, speech was lost too, though the next one gets one."""

SIGNS_TO_TRUST = 3
"""A server that sends no keep-alives back must have sent this many reports, at whatever pace."""

OVERDUE = 1.5
"""A report is late after this many times the longest wait for one."""

ANSWER_SECONDS = 1.0
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
        gap_since: When the last answer came before several keep-alives got none, if another has
            come since.
    """

    def __init__(self, voice: object, *, answers_expected: bool = False) -> None:
        self.last = 0.0
        self.has_answered = False
        self.gap_since: float | None = None
        self._count = 0
        self._asks = 0
        self._asks_answered = 0
        self._answered = 0.0
        self._sends_only_reports = False
        self._expected = False
        self._longest_wait = 0.0
        self._answers_expected = answers_expected
        self._asked = 0.0
        self._state: VoiceConnectionState | None = None
        if isinstance(voice, discord.VoiceClient):  # which offers no public way to its UDP socket
            self._state = voice._connection  # noqa: SLF001
            self._state.add_socket_listener(self._received)

    @property
    def _should_answer(self) -> bool:
        return self.has_answered or (self._answers_expected and self._state is not None)

    @property
    def next_should_answer(self) -> bool:
        """Whether keep-alives should be sent back on the next line.

        A server that sends reports instead is not asked for it twice: perhaps not all do. Of one
        that is silent altogether nothing is known.
        """
        return self.has_answered or (self._answers_expected and not self._sends_only_reports)

    @property
    def known_until(self) -> float | None:
        """Until when what was sent is known to have arrived; None if signs are too rare to tell."""
        if self._should_answer:
            return self._answered if self.gap_since is None else self.gap_since
        overdue = time.perf_counter() - self.last > OVERDUE * self._longest_wait
        return self.last if overdue and self._count >= SIGNS_TO_TRUST else None

    def expect(self) -> None:
        """From now on signs are asked for, and should come."""
        self.last = time.perf_counter()
        self.gap_since = None
        self._answered, self._asks_answered = self.last, self._asks
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
            waited = time.perf_counter() - self._asked
            if waited >= SECONDS_BETWEEN_KEEPALIVES or self._asked < began:
                self._ask()
            await asyncio.sleep(_LOOK_SECONDS)
            if self._answered > began:
                return True
        return False

    def close(self) -> None:
        """Listen no more."""
        if self._state is not None:
            self._state.remove_socket_listener(self._received)

    def _received(self, packet: bytes) -> None:
        """Called by discord.py's socket reader thread."""
        if len(packet) == DISCOVERY_BYTES:
            return  # it belongs to a handshake, and says nothing of what was sent before
        now = time.perf_counter()
        if self._expected:
            self._longest_wait = max(self._longest_wait, now - self.last)
        # The latest may still be on its way.
        unanswered = self._expected and self._asks - self._asks_answered > UNANSWERED_IN_A_ROW
        if len(packet) == len(KEEPALIVE):
            if unanswered and self._should_answer and self.gap_since is None:
                self.gap_since = self._answered
            self.has_answered = True
            self._answered, self._asks_answered = now, self._asks
        elif unanswered:
            self._sends_only_reports = True
        self.last = now
        self._count += 1

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._asks += 1
        if self._state is not None:
            with suppress(OSError):
                self._state.send_packet(KEEPALIVE)
