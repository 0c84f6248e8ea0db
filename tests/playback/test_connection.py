"""Whether somebody disconnected the bot, or its connection failed: told by the order of events."""

from __future__ import annotations

import pytest

from bot.playback.connection import KickDetector

PATIENCE = 6.0


@pytest.fixture
def kick() -> KickDetector:
    return KickDetector(patience=PATIENCE)


@pytest.mark.parametrize("close_code", [None, 1000, 4014, 4022])
def test_these_close_codes_mean_that_somebody_disconnected_the_bot(
    kick: KickDetector, close_code: int | None
) -> None:
    kick.shown_in_no_channel(close_code)
    assert kick.happened


@pytest.mark.parametrize("close_code", [1006, 4006, 4009, 4015])
def test_after_other_close_codes_the_connection_failed(kick: KickDetector, close_code: int) -> None:
    kick.shown_in_no_channel(close_code)
    assert not kick.happened


def test_a_bot_that_had_arrived_and_is_gone_again_was_disconnected(kick: KickDetector) -> None:
    with kick.while_connecting():
        kick.shown_in_channel()
        kick.shown_in_no_channel(None)
    assert kick.happened


def test_a_late_event_of_the_connection_before_does_not_count(kick: KickDetector) -> None:
    kick.shown_in_channel()
    with kick.while_connecting():
        kick.shown_in_no_channel(None)
        kick.shown_in_channel()
    assert not kick.happened


def test_a_client_that_gave_up_connecting_has_left_by_itself(
    kick: KickDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with kick.while_connecting():
        kick.shown_in_channel()
        now += PATIENCE
        kick.shown_in_no_channel(None)
    assert not kick.happened


def test_connecting_again_starts_anew(kick: KickDetector) -> None:
    kick.shown_in_no_channel(None)
    with kick.while_connecting():
        pass
    assert not kick.happened
