"""Silence by UDP means something only where there were signs before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
import pytest

from bot.playback.liveness import DISCOVERY_BYTES, KEEPALIVE, SECONDS_WITHOUT_SIGN, SignsOfLife

if TYPE_CHECKING:
    from collections.abc import Callable

REPORT = bytes(28)


class Server:
    """Stands where discord.py keeps its UDP socket."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.echoes = False
        self.shakes_hands = False
        self.asked = 0
        self._listener: Callable[[bytes], None] = lambda _packet: None

    def add_socket_listener(self, listener: Callable[[bytes], None]) -> None:
        self._listener = listener

    def send_packet(self, packet: bytes) -> None:
        self.asked += 1
        if self.echoes:
            self.sends(packet)

    def sends(self, packet: bytes) -> None:
        self._listener(packet)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr("time.perf_counter", lambda: made.now)

    async def sleep(seconds: float) -> None:
        made.now += seconds
        if made.shakes_hands:
            made.sends(bytes(DISCOVERY_BYTES))
        if made.echoes and made.asked:
            made.sends(KEEPALIVE)

    monkeypatch.setattr("asyncio.sleep", sleep)
    return made


@pytest.fixture
def signs(server: Server) -> SignsOfLife:
    return signs_of(server, answers_expected=False)


def signs_of(server: Server, *, answers_expected: bool) -> SignsOfLife:
    voice = discord.VoiceClient.__new__(discord.VoiceClient)
    voice._connection = server  # type: ignore[assignment]
    signs = SignsOfLife(voice, answers_expected=answers_expected)
    signs.expect()
    return signs


def looks(server: Server, signs: SignsOfLife, seconds: float) -> float | None:
    """Ten looks a second; what the last one says."""
    lost = None
    for _ in range(round(seconds * 10)):
        server.now += 0.1
        lost = signs.lost_since()
    return lost


async def test_a_server_that_never_says_anything_is_trusted(
    server: Server, signs: SignsOfLife
) -> None:
    assert looks(server, signs, 60) is None
    assert await signs.come()


def test_it_is_asked_five_times_a_second(server: Server, signs: SignsOfLife) -> None:
    looks(server, signs, 10)
    assert server.asked == pytest.approx(50, abs=1)


def test_what_was_sent_is_known_to_have_arrived_until_the_last_answer(
    server: Server, signs: SignsOfLife
) -> None:
    server.echoes = True
    looks(server, signs, 2)
    server.echoes = False
    last = signs.last
    looks(server, signs, 2)
    server.sends(REPORT)
    looks(server, signs, 1)
    assert signs.known_until == last


async def test_a_new_handshake_is_no_answer(server: Server, signs: SignsOfLife) -> None:
    """The server moves after an item's end: that says nothing of how it was heard."""
    server.sends(KEEPALIVE)
    last = signs.last
    looks(server, signs, 2)
    server.shakes_hands = True
    assert not await signs.come()
    assert signs.last == signs.known_until == last


def test_a_gap_in_the_answers_is_remembered(server: Server, signs: SignsOfLife) -> None:
    """Even where a report comes first, once the silence is over."""
    server.echoes = True
    looks(server, signs, 2)
    server.echoes = False
    last = signs.last
    looks(server, signs, 1)
    server.sends(REPORT)
    server.echoes = True
    looks(server, signs, 1)
    assert signs.gap_since == signs.known_until == last


def test_a_gap_is_forgotten_with_the_next_try(server: Server, signs: SignsOfLife) -> None:
    server.echoes = True
    looks(server, signs, 2)
    server.echoes = False
    looks(server, signs, 1)
    server.echoes = True
    signs.expect()
    looks(server, signs, 1)
    assert signs.gap_since is None


def test_one_answer_that_gets_lost_is_no_gap(server: Server, signs: SignsOfLife) -> None:
    server.echoes = True
    looks(server, signs, 2)
    server.echoes = False
    looks(server, signs, 0.3)
    server.echoes = True
    looks(server, signs, 1)
    assert signs.gap_since is None


async def test_a_server_that_sent_keepalives_back_and_stops_is_lost(
    server: Server, signs: SignsOfLife
) -> None:
    server.echoes = True
    assert looks(server, signs, 2) is None
    assert await signs.come()
    server.echoes = False
    last = signs.last
    assert looks(server, signs, SECONDS_WITHOUT_SIGN - 1.5) is None
    assert looks(server, signs, 2.0) == last


async def test_after_a_server_that_answered_the_next_is_expected_to(server: Server) -> None:
    signs = signs_of(server, answers_expected=True)
    assert looks(server, signs, SECONDS_WITHOUT_SIGN - 0.5) is None
    assert not await signs.come()
    assert looks(server, signs, 2.0) is not None
    assert not signs.has_answered
    assert signs.next_should_answer, "of a server that is silent altogether nothing is known"


def test_a_server_that_reports_but_does_not_answer_is_not_expected_to_again(
    server: Server,
) -> None:
    signs = signs_of(server, answers_expected=True)
    looks(server, signs, 1)
    server.sends(REPORT)
    assert not signs.next_should_answer


def test_only_a_report_that_is_late_says_what_did_not_arrive(
    server: Server, signs: SignsOfLife
) -> None:
    for _ in range(4):
        looks(server, signs, 2)
        server.sends(REPORT)
    last = signs.last
    looks(server, signs, 2)
    assert signs.known_until is None
    looks(server, signs, 1.5)
    assert signs.known_until == last


async def test_an_item_that_nobody_answered_to_was_not_heard(
    server: Server, signs: SignsOfLife
) -> None:
    """However short it was."""
    server.sends(KEEPALIVE)
    server.now += 600
    signs.expect()
    looks(server, signs, 0.5)
    assert not await signs.come()
    server.echoes = True
    assert await signs.come()


def test_reports_at_a_slow_pace_are_waited_for(server: Server, signs: SignsOfLife) -> None:
    for _ in range(4):
        looks(server, signs, 5)
        server.sends(REPORT)
    assert looks(server, signs, 14) is None
    assert looks(server, signs, 3) is not None


def test_what_came_while_nobody_asked_is_no_pace(server: Server, signs: SignsOfLife) -> None:
    for _ in range(4):
        looks(server, signs, 1)
        server.sends(REPORT)
    signs.expect_none()
    server.now += 300
    server.sends(REPORT)
    signs.expect()
    assert looks(server, signs, SECONDS_WITHOUT_SIGN + 1) is not None
