"""The state of a connection, and whose doing a departure was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.playback.link_state import (
    SECONDS_TO_ANSWER,
    SECONDS_TO_CHANGE,
    SECONDS_TO_CONFIRM,
    SECONDS_TO_FOLLOW,
    Departures,
    Facts,
    LinkState,
    judge,
)

HEALTHY = Facts()
CODES = (None, 1000, 1006, 4006, 4009, 4014, 4015, 4021, 4022)

any_facts = st.builds(
    Facts,
    is_removed=st.booleans(),
    knows_guild=st.booleans(),
    same_session=st.booleans(),
    is_shown=st.booleans(),
    is_current=st.booleans(),
    is_connected=st.booleans(),
    is_moving=st.booleans(),
    close_code=st.sampled_from(CODES),
    unchanged_seconds=st.floats(0, 60),
    unanswered_seconds=st.floats(0, 60),
)


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ({}, LinkState.CONNECTED),
        ({"knows_guild": False, "is_shown": False}, LinkState.CONNECTED),
        ({"unchanged_seconds": 3600}, LinkState.CONNECTED),
        ({"close_code": 4014}, LinkState.CHANGING),
        ({"close_code": 4022, "unchanged_seconds": 5.9}, LinkState.CHANGING),
        ({"close_code": 4014, "unchanged_seconds": 6.1}, LinkState.LOST),
        ({"close_code": 1006, "is_moving": True}, LinkState.CHANGING),
        ({"is_connected": False, "is_moving": True}, LinkState.CHANGING),
        ({"close_code": 4014, "knows_guild": False, "is_shown": False}, LinkState.WAITING),
        ({"same_session": False, "knows_guild": False}, LinkState.WAITING),
        ({"same_session": False}, LinkState.LOST),
        ({"is_shown": False}, LinkState.LOST),
        ({"is_current": False}, LinkState.LOST),
        ({"close_code": 1006}, LinkState.LOST),
        ({"close_code": 4006}, LinkState.LOST),
        ({"close_code": 4015}, LinkState.LOST),
        ({"unanswered_seconds": SECONDS_TO_ANSWER}, LinkState.LOST),
        ({"is_removed": True, "close_code": 4014}, LinkState.REMOVED),
        ({"close_code": 4021}, LinkState.BARRED),
    ],
)
def test_states(facts: dict[str, Any], state: LinkState) -> None:
    assert judge(replace(HEALTHY, **facts)) is state


@given(any_facts)
def test_only_an_open_and_answering_connection_carries_speech(facts: Facts) -> None:
    is_open = facts.is_connected and facts.close_code is None and facts.is_current
    if judge(facts) is LinkState.CONNECTED:
        assert is_open
        assert facts.unanswered_seconds < SECONDS_TO_ANSWER


@given(any_facts)
def test_the_bot_joins_again_only_when_the_main_gateway_can_tell_that_nobody_removed_it(
    facts: Facts,
) -> None:
    if judge(facts) is LinkState.LOST:
        assert facts.knows_guild
        assert not facts.is_removed


@given(any_facts)
def test_a_move_that_stands_still_ends(facts: Facts) -> None:
    if judge(facts) is LinkState.CHANGING:
        assert facts.unchanged_seconds < SECONDS_TO_CHANGE


class Discord:
    """Answers requests in order, each when the test lets it, and tells of departures."""

    def __init__(self) -> None:
        self.departures = Departures()
        self.requests: list[str] = []
        self.is_in = False
        self.is_shown = False  # to the bot
        self.has_forgotten = False  # the bot, since its last complete handshake
        self.verdicts: list[tuple[str, bool]] = []  # who caused it, and whether the bot asked
        self.now = 0.0

    def bot_joins(self) -> None:
        """It asks again only once it has given up the last time, and asked to leave."""
        if self.requests[-1:] != ["join"]:
            self.departures.join(self.now)
            self.requests.append("join")

    def bot_leaves(self) -> None:
        self.departures.ask(self.now, is_shown=self.is_shown)
        self.requests.append("leave")

    def is_muted(self) -> None:
        """Or let onto a stage, or moved; while nothing is on its way to Discord."""
        if self.is_in and not self.requests:
            self.departures.arrive()

    def answers(self) -> None:
        if not self.requests:
            return
        request = self.requests.pop(0)
        if request == "join":
            self.is_in = self.is_shown = True
            self.departures.arrive()
        elif self.is_in:
            self._departs("bot")

    def completes(self) -> None:
        """The bot's handshake is complete, which comes after the answer to a request to join.

        If the network has hung, it may be an earlier one than the last. So after a departure
        without an event, the bot may take the next one for an answer that is still missing: until
        seconds after a handshake when none is on its way.
        """
        if self.is_in:
            self.departures.complete(self.now)
            if self.has_forgotten and not self.requests:
                self.now += SECONDS_TO_FOLLOW
                self.has_forgotten = False

    def forgets(self) -> None:
        """Discord drops the bot, and sends no event. Requests to leave have no answer then."""
        if self.is_in and not self.requests:
            self.is_in, self.has_forgotten = False, True

    def kicks(self) -> None:
        """A moderator disconnects a bot that isn't about to leave by itself.

        What happens between a departure without an event and the next connection is left open.
        """
        if self.is_in and "leave" not in self.requests and not self.has_forgotten:
            self._departs("moderator")

    def _departs(self, cause: str) -> None:
        self.is_in = self.is_shown = False
        self.verdicts.append((cause, self.departures.confirm(self.now)))


STEPS = [
    "bot_joins",
    "bot_leaves",
    "answers",
    "answers",
    "completes",
    "forgets",
    "kicks",
    "is_muted",
]


@given(st.lists(st.sampled_from(STEPS), max_size=30))
def test_departures_that_the_bot_asked_for_are_told_from_others(steps: list[str]) -> None:
    """However requests, answers and moderators alternate."""
    discord = Discord()
    for step in steps:
        getattr(discord, step)()
    for cause, was_asked in discord.verdicts:
        assert was_asked is (cause == "bot")


def test_a_confirmation_that_never_came_is_not_expected_for_ever() -> None:
    departures = Departures()
    departures.ask(0.0, is_shown=True)
    departures.join(0.0)
    departures.arrive()
    assert not departures.confirm(SECONDS_TO_CONFIRM)


def test_a_kick_right_after_a_departure_that_was_never_confirmed_is_a_kick() -> None:
    """Requests are answered in order, so who has joined since has left before."""
    departures = Departures()
    assert departures.ask(0.0, is_shown=True)
    departures.join(0.0)
    departures.arrive()
    departures.complete(0.0)
    assert not departures.confirm(1.0)


def test_answers_that_come_late_all_at_once_are_all_expected() -> None:
    """The network has hung for so long that the bot has joined and left again and again."""
    departures = Departures()
    assert departures.ask(0.0, is_shown=True)
    departures.join(5.0)
    assert departures.ask(15.0, is_shown=True)
    departures.join(20.0)
    assert departures.confirm(30.0)
    departures.arrive()
    departures.complete(30.1)
    assert departures.confirm(30.2)
    departures.arrive()
    departures.complete(30.3)
    assert not departures.confirm(31.0), "a kick"


def test_a_departure_that_is_asked_for_during_a_handshake_is_expected() -> None:
    departures = Departures()
    departures.join(0.0)
    departures.arrive()
    assert departures.ask(0.0, is_shown=True)
    departures.complete(0.0)
    assert departures.confirm(1.0)


def test_a_kick_long_after_a_joining_that_was_never_answered_is_a_kick() -> None:
    """discord.py asks to leave when it hears of the kick, just before the bot judges it."""
    departures = Departures()
    departures.join(0.0)
    assert departures.ask(0.0, is_shown=False)
    departures.join(0.0)
    departures.arrive()
    kicked_at = 2 * SECONDS_TO_CONFIRM
    assert not departures.ask(kicked_at, is_shown=False), "the bot is out"
    assert not departures.confirm(kicked_at)


def test_nothing_is_expected_of_a_main_gateway_that_has_identified_anew() -> None:
    departures = Departures()
    assert departures.ask(0.0, is_shown=True)
    departures.forget()
    assert not departures.confirm(1.0)


def test_a_request_that_could_not_be_sent_excuses_nobody() -> None:
    departures = Departures()
    assert departures.ask(0.0, is_shown=True)
    departures.take_back()
    assert not departures.confirm(1.0)


def test_there_is_nothing_to_ask_for_twice_or_when_the_bot_is_out() -> None:
    departures = Departures()
    assert not departures.ask(0.0, is_shown=False)
    assert departures.ask(1.0, is_shown=True)
    assert not departures.ask(2.0, is_shown=True)
    departures.join(0.0)
    assert departures.ask(3.0, is_shown=False), "Discord may have let it in meanwhile"
