"""How a healthy voice server behaves where Discord promises nothing: the modes.

What is known of a real server comes from public captures, other clients' sources and their issues.
Servers differ, and Discord promises none of this. So the bot has to be right in every mode.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Pings(Enum):
    """What the server does with a native client's ping: `13 37 CA FE` and a little-endian counter.

    The native client sends one every 5 s (captures of 2022 to 2026). Eight bytes that do not begin
    with `13 37 CA FE` are answered in no mode: some servers have ignored plain counters since 2023
    (discord.js #9185, #9195, #9202).
    """

    IGNORED = auto()
    """No answer, which Discord allows: it documents no answer to anything but IP discovery."""
    PONG = auto()
    """`13 37 F0 0D` and the same counter, as in notes of 2026."""
    ECHO = auto()
    """The same eight bytes, as in captures of 2022."""


Span = tuple[float, float]
"""The shortest and the longest time, in seconds; each time is drawn between them."""


@dataclass(frozen=True)
class Mode:
    """What a voice server does by UDP, and how long it and the main gateway take for what they do.

    Behaviours combine. The default sends nothing by UDP but the answer to IP discovery, at once.

    Attributes:
        pings: What answers a native client's ping.
        answered_share: The share of pings that are answered: 0.2 is every fifth.
        answers_after: How long answers to pings take, besides the time that messages travel.
        stops_answering_after: So many seconds after a connection's first ping, nothing answers its
            pings any more; None for never.
        answering_servers: How many of the call's addresses answer pings, the oldest first; None for
            all. With 1, a call that moves goes from a server that answers to one that does not.
        reports: Seconds between receiver reports (RTCP 201) on what the bot sends; None for none.
            A real server sends one every few seconds at most, and none while the bot says nothing.
        talk: How long other members talk at a time; None if nobody does. A bot that is deafened
            gets their RTP all the same, 50 packets a second (discord-api-docs #4116).
        quiet: How long they are quiet then.
        sender_reports: Seconds between sender reports (RTCP 200) of other members, whether they
            talk or not; None for none.
        round_trip: How long a message takes there and back, by UDP, websocket and main gateway. A
            connection's handshakes (TCP, TLS, HTTP) take three of these.
        new_server_after: Seconds between close code 4014 and VOICE_SERVER_UPDATE in a move.
        null_endpoint_first: VOICE_SERVER_UPDATE comes with `endpoint: null` first, which means that
            a server has yet to be found (Discord's documentation of the event).
        kick_news_after: Seconds between close code 4014 and the VOICE_STATE_UPDATE that shows the
            bot in no channel. The two come by different connections.
        welcome_after: Seconds from the bot's key package to its welcome to the DAVE group, without
            which nobody can decrypt what it says.
    """

    pings: Pings = Pings.IGNORED
    answered_share: float = 1.0
    answers_after: Span = (0.0, 0.0)
    stops_answering_after: float | None = None
    answering_servers: int | None = None
    reports: Span | None = None
    talk: Span | None = None
    quiet: Span = (1.0, 4.0)
    sender_reports: Span | None = None
    round_trip: Span | None = None
    new_server_after: Span = (0.0, 0.0)
    null_endpoint_first: bool = False
    kick_news_after: float = 0.0
    welcome_after: float = 0.0

    @property
    def answers_regularly(self) -> bool:
        """Whether every ping is answered for as long as a connection stands."""
        return (
            self.pings is not Pings.IGNORED
            and self.answered_share == 1.0
            and self.stops_answering_after is None
            and self.answering_servers is None
        )

    @property
    def may_reconnect_once(self) -> bool:
        """Whether pings that stop being answered permit one reconnection for an item."""
        return self.stops_answering_after is not None


REPORTS: Span = (3.5, 6.5)
"""The uneven 5 seconds between receiver reports."""

TALK: Span = (1.0, 3.0)
SENDER_REPORTS: Span = (1.0, 6.0)
FAR: Span = (0.1, 0.3)

SILENT = Mode()

MODES = {
    "no udp": SILENT,
    "reports": Mode(reports=REPORTS),
    "pong": Mode(pings=Pings.PONG),
    "echo": Mode(pings=Pings.ECHO),
    "one in five": Mode(pings=Pings.PONG, answered_share=0.2),
    "no longer": Mode(pings=Pings.PONG, stops_answering_after=6.0),
    "not by the next": Mode(pings=Pings.PONG, answering_servers=1),
    "talkers": Mode(talk=TALK, sender_reports=SENDER_REPORTS),
    "talkers and pong": Mode(pings=Pings.PONG, talk=TALK, sender_reports=SENDER_REPORTS),
    "far": Mode(round_trip=FAR),
    "far and pong": Mode(pings=Pings.PONG, reports=REPORTS, round_trip=FAR),
    "slow": Mode(
        new_server_after=(2.0, 3.0),
        null_endpoint_first=True,
        kick_news_after=2.0,
        welcome_after=2.0,
    ),
    "everything": Mode(
        pings=Pings.PONG,
        reports=REPORTS,
        talk=TALK,
        sender_reports=SENDER_REPORTS,
        round_trip=FAR,
        new_server_after=(2.0, 3.0),
        null_endpoint_first=True,
        kick_news_after=2.0,
        welcome_after=2.0,
    ),
}
"""Every mode by its name: first what comes by UDP, then what takes its time, then all at once."""
