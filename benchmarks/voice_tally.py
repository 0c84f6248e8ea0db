"""What listeners found in one mode of the voice server, added up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.measuring import table
from tests.support.explanations import explains
from tests.support.voice_guild import SPOKEN

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tests.support.explanations import Cause
    from tests.support.marked_speech import Account

LOST_SECONDS = 0.3
"""If more of an item is missing, it was not heard."""

BLURRED_SECONDS = 0.1
"""Less than this may seem repeated or missing because Opus blurs a frame after silence."""

REPEATED_SECONDS = 2.0
"""How much may be said twice after a real drop."""

HEADING = (
    "mode",
    "healthy items",
    "repeated, s",
    "reconnections",
    "permitted",
    "items with faults",
    "heard",
    "told instead",
    "lost unsaid",
    "said twice, s",
    "elsewhere",
    "not noticed",
)


@dataclass
class Tally:
    """The figures of one mode.

    Attributes:
        healthy: How many items were said on the healthy line.
        repeated: How many seconds of them were heard twice.
        reconnections: How often the bot connected anew on the healthy line.
        permitted: How often it did so where a server had stopped to answer pings: once for an item.
        faulty: How many items were said while something went wrong.
        heard: How many of those were heard.
        told: Of how many of those the owner was told why they were not heard, as it happened.
        lost: How many were neither heard nor explained, on a healthy line too.
        twice: The most seconds of an item that were heard twice after a fault.
        elsewhere: How many items were heard in another channel, and how often the bot came back
            after a moderator had disconnected it.
        unnoticed: How many items were lost to dead UDP that nothing could show.
        stories: What is wrong, one line each.
    """

    healthy: int = 0
    repeated: float = 0.0
    reconnections: int = 0
    permitted: int = 0
    faulty: int = 0
    heard: int = 0
    told: int = 0
    lost: int = 0
    twice: float = 0.0
    elsewhere: int = 0
    unnoticed: int = 0
    stories: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.stories

    def judge_healthy(
        self, story: str, known: Account, told: str | None, *, reconnected: bool = False
    ) -> None:
        """Count an item of a healthy line.

        If one reconnection was permitted, some of it may be heard twice, and its owner may be told
        that part of it may not have been heard.
        """
        self.healthy += 1
        limit = REPEATED_SECONDS if reconnected else 0.0
        if known.repeated > BLURRED_SECONDS:
            self.repeated += known.repeated
        if known.repeated > max(limit, BLURRED_SECONDS):
            self.stories.append(f"{story}: {known.repeated:.2f} s are heard twice")
        is_told_well = told is not None and (SPOKEN in told or reconnected)
        if known.missing > BLURRED_SECONDS or not is_told_well:
            self.lost += 1
            self.stories.append(f"{story}: {known.missing:.2f} s are missing; told: {told}")

    def judge_faulty(  # noqa: PLR0913 - what was heard, what was told, and what had happened
        self,
        story: str,
        known: Account,
        told: str | None,
        *,
        is_hidden: bool,
        causes: Collection[Cause] = (),
        faults: int = 1,
    ) -> None:
        """Count an item during which something went wrong.

        Args:
            story: What it was, for what is wrong.
            known: What was heard of the item.
            told: What its owner was told.
            is_hidden: Whether what went wrong cannot be noticed.
            causes: What may be told instead of the item being heard.
            faults: How often something went wrong.
        """
        self.faulty += 1
        if known.repeated > BLURRED_SECONDS:
            self.twice = max(self.twice, known.repeated)
        if known.repeated > max(REPEATED_SECONDS * faults, BLURRED_SECONDS):
            self.stories.append(f"{story}: {known.repeated:.2f} s are heard twice")
        if known.missing <= LOST_SECONDS:
            self.heard += 1
        elif told is not None and explains(told, causes):
            self.told += 1
        elif told is not None and SPOKEN in told and is_hidden:
            self.unnoticed += 1
        else:
            self.lost += 1
            self.stories.append(f"{story}: {known.missing:.2f} s are missing; told: {told}")

    def add(self, other: Tally) -> None:
        """Add what was found elsewhere."""
        self.healthy += other.healthy
        self.repeated += other.repeated
        self.reconnections += other.reconnections
        self.permitted += other.permitted
        self.faulty += other.faulty
        self.heard += other.heard
        self.told += other.told
        self.lost += other.lost
        self.twice = max(self.twice, other.twice)
        self.elsewhere += other.elsewhere
        self.unnoticed += other.unnoticed
        self.stories += other.stories


def summary(tallies: Mapping[str, Tally]) -> str:
    """A table with a row for each mode and their total, and what is wrong."""
    total = Tally()
    for tally in tallies.values():
        total.add(tally)
    rows = [_row(name, tally) for name, tally in tallies.items()]
    wrong = [
        f"{mode}: {line}".replace("\n", " ")
        for mode, tally in tallies.items()
        for line in tally.stories
    ]
    verdict = "\n".join(wrong) if wrong else "Nothing is wrong."
    return f"{table(HEADING, [*rows, _row('total', total)])}\n\n{verdict}"


def _row(name: str, tally: Tally) -> list[str]:
    return [
        name,
        str(tally.healthy),
        f"{tally.repeated:.1f}",
        str(tally.reconnections),
        str(tally.permitted),
        str(tally.faulty),
        str(tally.heard),
        str(tally.told),
        str(tally.lost),
        f"{tally.twice:.1f}",
        str(tally.elsewhere),
        str(tally.unnoticed),
    ]
