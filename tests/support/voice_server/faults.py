"""What can go wrong in a call."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Faults:
    """What the voice server does wrong from now on.

    A test sets these at any time. They concern every connection; what goes wrong with the present
    one alone is asked of the `Call`. All is well again with `call.faults = Faults()`.

    Attributes:
        refuses_connections: The websocket is answered with HTTP 503.
        closes_on_identify: The close code that every identify or resume is answered with.
        loses_discovery: IP discovery gets no answer.
        loses_session_description: A chosen protocol gets no answer.
        silent_from_the_start: A connection is dead by UDP as soon as it stands.
        drop_share: The share of speech packets that get lost, from 0 to 1.
    """

    refuses_connections: bool = False
    closes_on_identify: int | None = None
    loses_discovery: bool = False
    loses_session_description: bool = False
    silent_from_the_start: bool = False
    drop_share: float = 0.0
