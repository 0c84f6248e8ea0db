"""A disconnected bot and an accident look alike, but for the order of the news."""

from __future__ import annotations

import pytest

from bot.playback.kick import Expulsion

PATIENCE = 6.0


@pytest.fixture
def expulsion() -> Expulsion:
    return Expulsion(patience=PATIENCE)


@pytest.mark.parametrize("close_code", [None, 1000, 4014, 4022])
def test_who_disconnects_the_bot_leaves_the_websocket_or_closes_it_so(
    expulsion: Expulsion, close_code: int | None
) -> None:
    expulsion.is_shown_outside(close_code)
    assert expulsion.happened


@pytest.mark.parametrize("close_code", [1006, 4006, 4009, 4015])
def test_after_an_accident_the_bot_has_left_by_itself(
    expulsion: Expulsion, close_code: int
) -> None:
    expulsion.is_shown_outside(close_code)
    assert not expulsion.happened


def test_who_arrives_and_is_outside_again_was_disconnected(expulsion: Expulsion) -> None:
    with expulsion.while_connecting():
        expulsion.is_shown_inside()
        expulsion.is_shown_outside(None)
    assert expulsion.happened


def test_late_news_of_the_connection_before_is_none_of_this_one(expulsion: Expulsion) -> None:
    expulsion.is_shown_inside()
    with expulsion.while_connecting():
        expulsion.is_shown_outside(None)
        expulsion.is_shown_inside()
    assert not expulsion.happened


def test_a_client_that_gave_up_has_left_by_itself(
    expulsion: Expulsion, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with expulsion.while_connecting():
        expulsion.is_shown_inside()
        now += PATIENCE
        expulsion.is_shown_outside(None)
    assert not expulsion.happened


def test_connecting_again_begins_anew(expulsion: Expulsion) -> None:
    expulsion.is_shown_outside(None)
    with expulsion.while_connecting():
        pass
    assert not expulsion.happened
