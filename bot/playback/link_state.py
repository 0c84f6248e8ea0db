"""The state of the bot's connection to a voice channel, judged by what Discord promises.

A connection is in one of six states:

    CONNECTED   The voice gateway answers heartbeats, and the main gateway shows the bot in a
                channel. Speech is sent.
    CHANGING    The voice gateway has closed the connection with a code that leaves open why, or
                Discord is moving the call. discord.py waits for the next server or connects to it.
                Speech waits for as long as discord.py gets on.
    WAITING     The connection has ended, and the main gateway can't say why: it's away, or it has
                identified anew and sends stubs instead of guilds. Speech waits.
    LOST        The connection has ended and nobody wanted that. The bot joins again, and the
                speech goes on.
    REMOVED     A moderator has disconnected the bot. It stays out, and the queue ends.
    BARRED      Discord has limited the bot's rate. It stays out, and the queue ends.

From CONNECTED a connection may go to any state, and from CHANGING back to CONNECTED. WAITING ends
in LOST, or in REMOVED. From the last three, only a new connection leads back to CONNECTED.

What decides is, in this order: a departure that the main gateway reports and that nobody here has
asked for, the voice websocket's close code, its heartbeats, discord.py's own state, and the voice
state that the main gateway shows. What comes by UDP decides nothing here; see `pings.py`.

What is not noticed: a path that loses all UDP packets while the websocket works, to a server that
answers no pings. Nothing that Discord promises would show it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

SECONDS_TO_CHANGE = 6.0
"""How long discord.py may stand still while the call is moved. Discord's news of a move, and of a
moderator who disconnects the bot, come up to 3 s after close code 4014."""

SECONDS_TO_ANSWER = 15.0
"""How long heartbeats may go unanswered. discord.py sends one every 5 s; on its own it closes the
connection only after 30 s without any message (2.7.1, `DiscordVoiceWebSocket.poll_event`)."""

SECONDS_TO_BEAT = 7.0
"""When a heartbeat's acknowledgement is overdue: they are 5 s apart, and it takes a round trip."""

SECONDS_TO_CONFIRM = 90.0
"""How long Discord's confirmation of a departure is expected. Where the whole network hangs,
requests reach Discord only afterwards, all at once. The bot tries for a minute to join again."""

SECONDS_TO_FOLLOW = 3.0
"""Once Discord answers again, how long the answers to all that was asked for before may take."""

# https://discord.com/developers/docs/topics/opcodes-and-status-codes#voice
RATE_LIMITED = 4021
CHANGE_CODES = {4014, 4022}
"""Close codes after which discord.py waits for the next server.

4014 comes before a move, when a moderator disconnects the bot, and when the main gateway's session
has ended. After all other codes the bot joins again at once. That includes 4015, which asks to
resume: discord.py then waits for events that Discord sends only to a client that joins (2.7.1,
`VoiceConnectionState._inner_connect`).
"""

UNEXPLAINED_CODES = CHANGE_CODES | {4006}
"""Close codes of a first handshake after which a moderator may have disconnected the bot. A voice
server answers 4006, session no longer valid, to a bot that was disconnected on its way there."""

_CODES_OF_REMOVAL = CHANGE_CODES | {None, 1000}
"""None while the websocket is open. With 1000, discord.py itself closes it once it has heard that
the bot was removed."""


class LinkState(Enum):
    """The states, as this file's first lines describe them."""

    CONNECTED = auto()
    CHANGING = auto()
    WAITING = auto()
    LOST = auto()
    REMOVED = auto()
    BARRED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a connection at one moment.

    Attributes:
        is_removed: The main gateway reported a departure that counts as a moderator's.
        knows_guild: The main gateway is open and has sent the guild, not just a stub of it.
        same_session: The main gateway has not identified anew since the connection was made.
            Discord ends voice connections along with the session that they belong to.
        is_shown: The main gateway shows the bot in a voice channel.
        is_current: discord.py still keeps the connection.
        is_connected: discord.py has completed the latest handshake.
        is_moving: discord.py waits for the next server, or connects to it.
        close_code: The voice websocket's; None while it is open.
        unchanged_seconds: For how long nothing has happened in discord.py's part of a move.
        unanswered_seconds: For how long no heartbeat has been acknowledged.
    """

    is_removed: bool = False
    knows_guild: bool = True
    same_session: bool = True
    is_shown: bool = True
    is_current: bool = True
    is_connected: bool = True
    is_moving: bool = False
    close_code: int | None = None
    unchanged_seconds: float = 0.0
    unanswered_seconds: float = 0.0

    @property
    def has_failed(self) -> bool:
        """Whether the connection itself has failed, so that its end is no moderator's doing."""
        return (
            (self.close_code not in _CODES_OF_REMOVAL and not self.is_moving)
            or self.unanswered_seconds >= SECONDS_TO_ANSWER
            or not self.same_session
        )


def judge(facts: Facts) -> LinkState:
    """Tell the state of a connection."""
    is_kept = facts.is_current and facts.same_session and not facts.has_failed
    is_open = is_kept and facts.is_connected and facts.close_code is None
    may_change = is_kept and facts.is_shown and facts.unchanged_seconds < SECONDS_TO_CHANGE
    if facts.is_removed:
        state = LinkState.REMOVED
    elif facts.close_code == RATE_LIMITED:
        state = LinkState.BARRED
    elif is_open and (facts.is_shown or not facts.knows_guild):
        state = LinkState.CONNECTED
    elif not facts.knows_guild:
        state = LinkState.WAITING
    elif may_change and (facts.is_moving or facts.close_code in CHANGE_CODES):
        state = LinkState.CHANGING
    else:
        state = LinkState.LOST
    return state


class Departures:
    """Tells departures that the bot or discord.py has asked for from those that somebody caused.

    Discord shows the bot in no channel in both cases. discord.py asks to leave on its own whenever
    a connection fails. Discord answers requests in order, however late. Leaving twice is answered
    once; and not at all, if Discord has dropped the bot before, without a word.

    All times are those of one clock, in seconds.
    """

    def __init__(self) -> None:
        self._unanswered: list[_Request] = []
        self._is_leaving = False  # the last request was to leave
        self._is_there = False  # by Discord's last news
        self._may_have_joined = False  # news came that may be the answer to a request to join

    def ask(self, now: float, *, is_shown: bool) -> bool:
        """Record a request to leave; return whether there is anything to ask for.

        Args:
            now: The time.
            is_shown: Discord shows the bot in a channel.
        """
        self._forget_late(now)
        is_joining = any(request.joins for request in self._unanswered)
        if self._is_leaving or not (is_shown or is_joining):
            return False
        self._unanswered.append(_Request(joins=False, until=now + SECONDS_TO_CONFIRM))
        self._is_leaving = True
        return True

    def take_back(self) -> None:
        """Record that the last request to leave could not be sent."""
        if self._is_leaving and self._unanswered:
            self._unanswered.pop()
        self._is_leaving = False

    def join(self, now: float) -> None:
        """Record a request to join a channel."""
        self._unanswered.append(_Request(joins=True, until=now + SECONDS_TO_CONFIRM))
        self._is_leaving = self._may_have_joined = False

    def arrive(self) -> None:
        """Record that Discord shows the bot in a channel."""
        if self._unanswered and (self._unanswered[0].joins or not self._is_there):
            self._has_joined()
        else:  # or it is there still, and was muted
            self._may_have_joined = True
        self._is_there = True

    def complete(self, now: float) -> None:
        """Record that a handshake is complete, so that Discord has answered a request to join.

        What was asked for before that, and is not confirmed by now, never will be. Answers to what
        was asked for later follow at once: where the network hangs, a handshake may be of an
        earlier request than the last.
        """
        if self._may_have_joined:
            self._has_joined()
        for request in self._unanswered:
            request.until = min(request.until, now + SECONDS_TO_FOLLOW)

    def confirm(self, now: float) -> bool:
        """Return whether a departure that Discord reports had been asked for. It counts once."""
        self._forget_late(now)
        self._is_there = self._may_have_joined = False
        for index, request in enumerate(self._unanswered):
            if not request.joins:
                del self._unanswered[: index + 1]
                return True
        return False

    def forget(self) -> None:
        """Expect no answers any more: the main gateway has identified anew."""
        self._unanswered.clear()
        self._is_leaving = self._is_there = self._may_have_joined = False

    def _has_joined(self) -> None:
        """Forget the first request to join, and what was asked for before it."""
        self._may_have_joined = False
        for index, request in enumerate(self._unanswered):
            if request.joins:
                del self._unanswered[: index + 1]
                return

    def _forget_late(self, now: float) -> None:
        """Forget what Discord has not answered by now, so never will."""
        self._unanswered = [request for request in self._unanswered if now < request.until]


@dataclass(slots=True)
class _Request:
    """A request to Discord about voice, and until when its answer is expected."""

    joins: bool
    until: float
