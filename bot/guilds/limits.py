"""How much people may use: what the operator decided, and what a server decided below that."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

from bot.errors import Reason, Refusal
from bot.guilds.records import Scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bot.guilds.records import ServerSettings

MINUTE = timedelta(minutes=1)

LEAST_SECONDS = 1.0
"""Less speech than this is none."""

LITTLE_SHARE = 0.2
"""A person is told when no more than this share of the day's seconds is left."""

_LOWERED = (
    "seconds_per_person",
    "seconds_per_server",
    "requests_per_minute",
    "at_once_per_person",
    "at_once_per_server",
)
"""The limits that a server can lower."""


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

    def lowered_by(self, settings: ServerSettings) -> Limits:
        """Return the limits that hold in a server: its own, where they are lower than these."""
        lowered: dict[str, int | None] = {}
        for name in _LOWERED:
            known = [
                limit for each in (self, settings) if (limit := getattr(each, name)) is not None
            ]
            lowered[name] = min(known, default=None)
        return replace(self, **lowered)


@dataclass(frozen=True, slots=True)
class Standing:
    """What counts against the limits when somebody asks for more.

    Seconds of speech are those that were made for today's requests, and those that are reserved for
    the ones that still run.

    Attributes:
        now: The time, in UTC.
        person_seconds: The person's seconds today.
        server_seconds: The server's; None in a direct message.
        all_seconds: Everybody's.
        recent: When the person's requests of the last minute began, in order.
        person_at_once: How many other requests of the person run.
        server_at_once: How many other requests run in the server; None in a direct message.
    """

    now: datetime
    person_seconds: float
    server_seconds: float | None
    all_seconds: float
    recent: Sequence[datetime]
    person_at_once: int
    server_at_once: int | None

    def check(self, limits: Limits, seconds: float) -> None:
        """Raise `Refusal` if so many more seconds of speech would exceed a limit."""
        if _is_reached(self.person_at_once, limits.at_once_per_person):
            raise Refusal(Reason.TOO_MANY_COMMANDS, count=self.person_at_once)
        if _is_reached(self.server_at_once, limits.at_once_per_server):
            raise Refusal(Reason.SERVER_BUSY, count=self.server_at_once or 0)
        self._check_seconds(limits, seconds)

    def seconds_left(self, limits: Limits) -> float:
        """Return how many more seconds of speech the limits allow today."""
        return min(
            (
                limit - used
                for _, used, limit in self._seconds(limits)
                if used is not None and limit is not None
            ),
            default=math.inf,
        )

    def check_anything_left(self, limits: Limits) -> None:
        """Raise `Refusal` if the limits allow no more speech today."""
        if self.seconds_left(limits) < LEAST_SECONDS:
            self._check_seconds(limits, LEAST_SECONDS)

    def _seconds(self, limits: Limits) -> tuple[tuple[Scope, float | None, int | None], ...]:
        """Whose seconds of speech are limited, how many are used, and how many may be."""
        return (
            (Scope.PERSON, self.person_seconds, limits.seconds_per_person),
            (Scope.SERVER, self.server_seconds, limits.seconds_per_server),
            (Scope.ALL, self.all_seconds, limits.seconds_in_all),
        )

    def check_minute(self, limits: Limits) -> None:
        """Raise `Refusal` if one more request would exceed the limit of a minute."""
        limit = limits.requests_per_minute
        if limit is None or len(self.recent) < limit:
            return
        again = self.recent[-limit] if limit else self.now
        raise Refusal(Reason.TOO_MANY_REQUESTS, limit=limit, again=timestamp(again + MINUTE))

    def _check_seconds(self, limits: Limits, seconds: float) -> None:
        again = timestamp(next_day(self.now))
        for scope, used, limit in self._seconds(limits):
            if limit is None or used is None or used + seconds <= limit:
                continue
            if seconds > limit:  # it wouldn't work tomorrow either
                raise Refusal(Reason.LONGER_THAN_A_DAY, wanted=seconds, most=limit)
            left = limit - used
            if left < LEAST_SECONDS:
                nothing_left = {
                    Scope.PERSON: Reason.OWN_SPEECH_USED_UP,
                    Scope.SERVER: Reason.SERVER_SPEECH_USED_UP,
                    Scope.ALL: Reason.ALL_SPEECH_USED_UP,
                }[scope]
                raise Refusal(nothing_left, again=again)
            too_little_left = {
                Scope.PERSON: Reason.OWN_SPEECH_TOO_LITTLE,
                Scope.SERVER: Reason.SERVER_SPEECH_TOO_LITTLE,
                Scope.ALL: Reason.ALL_SPEECH_TOO_LITTLE,
            }[scope]
            raise Refusal(too_little_left, wanted=seconds, left=left, again=again)


def next_day(now: datetime) -> datetime:
    """Return when the next day (UTC) begins, and with it what may be used on it."""
    return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time(), UTC)


def timestamp(moment: datetime) -> int:
    """Return a moment as whole seconds since 1970, not too early, as Discord shows it."""
    return -int(-moment.timestamp() // 1)


def _is_reached(count: int | None, limit: int | None) -> bool:
    return count is not None and limit is not None and count >= limit
