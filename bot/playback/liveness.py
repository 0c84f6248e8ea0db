"""Checks whether a voice server still receives packets, by the packets that it sends back by UDP.

Discord's voice servers send RTCP reports, and echo the keep-alives that Discord's own clients send.
Neither is documented. So missing packets count as a fault only if the server has sent some before.
If keep-alives are echoed, speech is known to have arrived up to the last echo, but not after it.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from discord.voice_state import VoiceConnectionState

KEEPALIVE = bytes(8)
DISCOVERY_BYTES = 74
"""https://discord.com/developers/docs/topics/voice-connections#ip-discovery"""

SECONDS_BETWEEN_KEEPALIVES = 0.2
"""After a drop, speech resumes from the last echo. So at most this much is played twice."""

MAX_SILENT_SECONDS = 4.0
"""A server that has sent packets before counts as lost if it sends none for this long."""

MAX_MISSED_ECHOES = 3
"""If more keep-alives in a row than this are not echoed, the speech in between counts as lost, even
if later ones are echoed."""

REPORTS_TO_TRUST = 3
"""Without echoes, missing packets count only after the server has sent this many."""

OVERDUE = 1.5
"""A report is late after this many times the longest interval between packets so far."""

ECHO_WITHIN_SECONDS = 1.0
_POLL_SECONDS = 0.01


class Liveness:
    """Sends keep-alives to a voice server while speech is played, and watches for its packets.

    Args:
        udp: The voice client's UDP socket; without one, nothing is sent or expected.
        echo_expected: Whether to expect echoes from the start, because the previous link had them.

    Attributes:
        has_echoed: Whether a keep-alive was echoed on this link.
        last_packet: When the last packet came, or when watching started if none has come since. All
            times are those of `time.perf_counter`.
        gap_since: The time of the last echo before a gap of several missed echoes, if echoes have
            resumed since; else None.
    """

    def __init__(self, udp: VoiceConnectionState | None, *, echo_expected: bool = False) -> None:
        self.last_packet = 0.0
        self.has_echoed = False
        self.gap_since: float | None = None
        self._packets = 0
        self._sent = 0  # keep-alives
        self._sent_at_last_echo = 0
        self._last_sent = 0.0
        self._last_echo = 0.0
        self._longest_interval = 0.0
        self._is_watching = False
        self._only_reports = False
        self._echo_expected = echo_expected
        self._udp = udp
        if udp is not None:
            udp.add_socket_listener(self._received)

    @property
    def _should_echo(self) -> bool:
        return self.has_echoed or (self._echo_expected and self._udp is not None)

    @property
    def next_should_echo(self) -> bool:
        """Whether echoes should be expected on the next link.

        False after a server that sent reports but no echoes, because maybe not all servers echo. A
        server that sent nothing at all does not change the expectation.
        """
        return self.has_echoed or (self._echo_expected and not self._only_reports)

    @property
    def arrived_until(self) -> float | None:
        """The time up to which speech is known to have arrived; None if that is not known."""
        if self._should_echo:
            return self._last_echo if self.gap_since is None else self.gap_since
        overdue = time.perf_counter() - self.last_packet > OVERDUE * self._longest_interval
        return self.last_packet if overdue and self._packets >= REPORTS_TO_TRUST else None

    def start_watching(self) -> None:
        """Expect packets from now on, and forget any earlier gap."""
        self.last_packet = time.perf_counter()
        self.gap_since = None
        self._last_echo, self._sent_at_last_echo = self.last_packet, self._sent
        self._is_watching = True

    def stop_watching(self) -> None:
        """Expect no more packets."""
        self._is_watching = False

    def silent_since(self) -> float | None:
        """Return when the last packet came if the server is lost, else None.

        This also sends the next keep-alive if one is due, so it has to be called regularly.
        """
        now = time.perf_counter()
        if now - self._last_sent >= SECONDS_BETWEEN_KEEPALIVES:
            self._send_keepalive()
        if self._should_echo:
            limit = MAX_SILENT_SECONDS
        elif self._packets >= REPORTS_TO_TRUST:
            limit = max(MAX_SILENT_SECONDS, 3 * self._longest_interval)
        else:
            return None
        return self.last_packet if now - self.last_packet > limit else None

    async def echoes(self) -> bool:
        """Return whether the server echoes now, which takes a round trip.

        Returns True if no echo is expected from it.
        """
        if not self._should_echo:
            return True
        began = time.perf_counter()
        while time.perf_counter() - began < ECHO_WITHIN_SECONDS:
            waited = time.perf_counter() - self._last_sent
            if waited >= SECONDS_BETWEEN_KEEPALIVES or self._last_sent < began:
                self._send_keepalive()
            await asyncio.sleep(_POLL_SECONDS)
            if self._last_echo > began:
                return True
        return False

    def close(self) -> None:
        """Stop listening to the socket."""
        if self._udp is not None:
            self._udp.remove_socket_listener(self._received)

    def _received(self, packet: bytes) -> None:
        """Called by discord.py's socket reader thread."""
        if len(packet) == DISCOVERY_BYTES:
            return  # a part of a handshake, which is no answer to earlier packets
        now = time.perf_counter()
        if self._is_watching:
            self._longest_interval = max(self._longest_interval, now - self.last_packet)
        # The echo of the latest keep-alive may still be on its way.
        missed = self._is_watching and self._sent - self._sent_at_last_echo > MAX_MISSED_ECHOES
        if len(packet) == len(KEEPALIVE):
            if missed and self._should_echo and self.gap_since is None:
                self.gap_since = self._last_echo
            self.has_echoed = True
            self._last_echo, self._sent_at_last_echo = now, self._sent
        elif missed:
            self._only_reports = True
        self.last_packet = now
        self._packets += 1

    def _send_keepalive(self) -> None:
        self._last_sent = time.perf_counter()
        self._sent += 1
        if self._udp is not None:
            with suppress(OSError):
                self._udp.send_packet(KEEPALIVE)
