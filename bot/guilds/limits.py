"""How much people may use: what the operator decided, and what a server decided below that."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be used. The defaults protect a small budget. None is no limit.

    Attributes:
        seconds_per_person: Of speech that is made for a person, on a day (UTC).
        seconds_per_server: For everybody in a server, on a day.
        seconds_in_all: For everybody, on a day.
        requests_per_minute: Of one person.
        at_once_per_person: Requests at the same time.
        at_once_per_server: Requests at the same time.
        voice_channels: In which the bot is at the same time, in all.
    """

    seconds_per_person: int | None = 600
    seconds_per_server: int | None = 3_600
    seconds_in_all: int | None = 10_800
    requests_per_minute: int | None = 10
    at_once_per_person: int | None = 3
    at_once_per_server: int | None = 10
    voice_channels: int | None = 25
