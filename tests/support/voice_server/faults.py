"""The faults that a test can cause in a call."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Faults:
    """What the voice server does wrong from now on.

    A test may set these at any time. They concern every connection; methods of `Call` cause faults
    of the current connection alone. `call.faults = Faults()` ends them all.

    Attributes:
        refuses_connections: The websocket is answered with HTTP 503.
        swallows_connections: The websocket gets no answer: the network is gone.
        closes_on_identify: The close code that every identify or resume is answered with.
        loses_discovery: IP discovery gets no answer.
        loses_session_description: Select Protocol gets no answer.
        deaf_from_the_start: What the bot sends by UDP on a new connection never arrives.
        mute_from_the_start: Nothing comes by UDP on a new connection once its handshake is over.
        drop_share: The share of speech packets that are lost, from 0 to 1.
    """

    refuses_connections: bool = False
    swallows_connections: bool = False
    closes_on_identify: int | None = None
    loses_discovery: bool = False
    loses_session_description: bool = False
    deaf_from_the_start: bool = False
    mute_from_the_start: bool = False
    drop_share: float = 0.0
