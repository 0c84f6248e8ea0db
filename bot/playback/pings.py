"""Pings by UDP, as Discord's own clients send them, and what their answers tell.

A ping is `13 37 CA FE` and a little-endian counter. Some servers answer with the same eight bytes,
some with `13 37 F0 0D` and the same counter, some not at all; Discord documents none of it. Pings
also keep a router's port mapping open. A server that hears the bot may also send it receiver
reports (RTCP 201, RFC 3550); Discord encrypts their contents.

Nothing else that comes by UDP says whether speech arrives: other members' RTP and sender reports
come whether it does or not. So answers only ever help. Only a server that has answered this very
connection's pings regularly is missed when it stops.
"""

from __future__ import annotations

import struct
from collections import deque
from enum import StrEnum

PING = b"\x13\x37\xca\xfe"
PONG = b"\x13\x37\xf0\x0d"
_COUNTER = struct.Struct("<I")
_PING_BYTES = len(PING) + _COUNTER.size

SECONDS_BETWEEN_PINGS = 1.0
"""While the bot speaks."""

IDLE_SECONDS_BETWEEN_PINGS = 5.0
"""While it doesn't: as often as Discord's own clients."""

SECONDS_TO_MISS = 6.0
"""After this long without answers, a server that used to answer counts as out of reach."""

SECONDS_TO_DOUBT = 2.5
"""After this long without answers, three pings, what was said meanwhile is not told as heard."""

LATE_SECONDS = 1.0
"""An answer that takes longer is late. Round trips take up to 0.3 s."""

MIN_ANSWERS = 3
"""With fewer, a server isn't known to answer: one that answers only some pings may answer the
first two. Pings are a second apart, so a path that dies in a connection's first 2 s of speech isn't
noticed."""

MIN_SHARE = 0.8
_REMEMBERED = 10
_MAX_UNANSWERED = 100


class Kind(StrEnum):
    """What a UDP packet from a voice server is."""

    ECHO = "ping, echoed"
    PONG = "ping, answered"
    DISCOVERY = "IP discovery"
    RECEIVER_REPORT = "RTCP receiver report"
    SENDER_REPORT = "RTCP sender report"
    RTCP = "RTCP"
    RTP = "RTP"
    UNKNOWN = "unknown"


def kind_of(packet: bytes) -> Kind:
    """Tell what a packet is by its first bytes and its length."""
    if len(packet) == _PING_BYTES and packet.startswith((PING, PONG)):
        return Kind.ECHO if packet.startswith(PING) else Kind.PONG
    if len(packet) == 74 and packet.startswith(b"\x00\x02"):  # noqa: PLR2004 - as documented
        return Kind.DISCOVERY
    if len(packet) < 8 or packet[0] >> 6 != 2:  # noqa: PLR2004 - RFC 3550: version 2
        return Kind.UNKNOWN
    if 200 <= packet[1] <= 207:  # noqa: PLR2004 - RFC 5761: RTCP
        return {200: Kind.SENDER_REPORT, 201: Kind.RECEIVER_REPORT}.get(packet[1], Kind.RTCP)
    return Kind.RTP


class PingTracker:
    """Makes one connection's pings, and judges by the answers whether packets get through.

    All times are those of one clock, in seconds. Not thread-safe.
    """

    def __init__(self) -> None:
        self._counter = 0
        self._outcomes: deque[bool] = deque(maxlen=_REMEMBERED)  # up to the last answered ping
        self._unanswered: deque[tuple[int, float]] = deque(maxlen=_MAX_UNANSWERED)  # since then
        self._proven = 0.0  # when the last answered ping was sent
        self._reported = 0.0  # when the last receiver report came

    @property
    def is_answered_regularly(self) -> bool:
        """Whether answers can be expected, from the ten pings up to the last answered one."""
        answers = sum(self._outcomes)
        return answers >= MIN_ANSWERS and answers >= MIN_SHARE * len(self._outcomes)

    def ping(self, now: float) -> bytes:
        """Return the next ping, which has to be sent now."""
        self._counter = (self._counter + 1) % (1 << 32)
        self._unanswered.append((self._counter, now))
        return PING + _COUNTER.pack(self._counter)

    def receive(self, packet: bytes, now: float) -> None:
        """Take in a packet; all but answers to these pings and receiver reports are ignored."""
        kind = kind_of(packet)
        if kind is Kind.RECEIVER_REPORT:
            self._reported = now
        elif kind in {Kind.ECHO, Kind.PONG}:
            self._answered(_COUNTER.unpack_from(packet, len(PING))[0])

    def _answered(self, counter: int) -> None:
        sent = dict(self._unanswered).get(counter)
        if sent is None:
            return
        while self._unanswered:
            number, _ = self._unanswered.popleft()
            self._outcomes.append(number == counter)
            if number == counter:
                break
        self._proven = max(self._proven, sent)

    def missed_seconds(self, now: float) -> float:
        """For how long answers have been missed; 0 if the server never answered regularly."""
        if not self.is_answered_regularly or not self._unanswered:
            return 0.0
        return max(0.0, now - max(self._unanswered[0][1], self._proven))

    def is_late(self, now: float) -> bool:
        """Whether an answer should have come by now."""
        return self.missed_seconds(now) > LATE_SECONDS

    def have_stopped(self, now: float) -> bool:
        """Whether the answers have stopped: no more are waited for."""
        enough = SECONDS_TO_MISS / SECONDS_BETWEEN_PINGS - 1
        return self.missed_seconds(now) >= SECONDS_TO_MISS and len(self._unanswered) >= enough

    def is_missing(self, now: float) -> bool:
        """Whether the server counts as out of reach: the answers have stopped, and the reports too.

        A report doesn't show that anything arrives: the way to the server may be dead while the
        way back isn't. But a server that reports may also just have stopped answering.
        """
        return self.have_stopped(now) and now - self._reported >= SECONDS_TO_MISS

    def proven_until(self, now: float) -> float | None:
        """Until when speech is known to have arrived, if answers are late; None if they aren't."""
        return self._proven if self.is_late(now) else None
