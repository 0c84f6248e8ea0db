"""UDP silence means something only on a link whose server has sent something before."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from bot.playback.liveness import DISCOVERY_BYTES, KEEPALIVE, MAX_SILENT_SECONDS, Liveness

if TYPE_CHECKING:
    from collections.abc import Callable

    from discord.voice_state import VoiceConnectionState

REPORT = bytes(28)


class Server:
    """Takes the place of discord.py's UDP socket."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.echoes = False
        self.shakes_hands = False
        self.keepalives = 0
        self._listener: Callable[[bytes], None] = lambda _packet: None

    def add_socket_listener(self, listener: Callable[[bytes], None]) -> None:
        self._listener = listener

    def send_packet(self, packet: bytes) -> None:
        self.keepalives += 1
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
        if made.echoes and made.keepalives:
            made.sends(KEEPALIVE)

    monkeypatch.setattr("asyncio.sleep", sleep)
    return made


@pytest.fixture
def liveness(server: Server) -> Liveness:
    return liveness_of(server, echo_expected=False)


def liveness_of(server: Server, *, echo_expected: bool) -> Liveness:
    made = Liveness(cast("VoiceConnectionState", server), echo_expected=echo_expected)
    made.start_watching()
    return made


def checks(server: Server, liveness: Liveness, seconds: float) -> float | None:
    """Check ten times a second; return what the last check says."""
    lost = None
    for _ in range(round(seconds * 10)):
        server.now += 0.1
        lost = liveness.silent_since()
    return lost


async def test_a_server_that_never_says_anything_is_trusted(
    server: Server, liveness: Liveness
) -> None:
    assert checks(server, liveness, 60) is None
    assert await liveness.echoes()


def test_five_keepalives_are_sent_a_second(server: Server, liveness: Liveness) -> None:
    checks(server, liveness, 10)
    assert server.keepalives == pytest.approx(50, abs=1)


def test_speech_is_known_to_have_arrived_until_the_last_echo(
    server: Server, liveness: Liveness
) -> None:
    server.echoes = True
    checks(server, liveness, 2)
    server.echoes = False
    last = liveness.last_packet
    checks(server, liveness, 2)
    server.sends(REPORT)
    checks(server, liveness, 1)
    assert liveness.arrived_until == last


async def test_a_new_handshake_is_no_echo(server: Server, liveness: Liveness) -> None:
    """The server changes after the end of speech: that does not say whether it was heard."""
    server.sends(KEEPALIVE)
    last = liveness.last_packet
    checks(server, liveness, 2)
    server.shakes_hands = True
    assert not await liveness.echoes()
    assert liveness.last_packet == liveness.arrived_until == last


def test_a_gap_in_the_echoes_is_remembered(server: Server, liveness: Liveness) -> None:
    """Even if a report is the first packet after the silence."""
    server.echoes = True
    checks(server, liveness, 2)
    server.echoes = False
    last = liveness.last_packet
    checks(server, liveness, 1)
    server.sends(REPORT)
    server.echoes = True
    checks(server, liveness, 1)
    assert liveness.gap_since == liveness.arrived_until == last


def test_a_gap_is_forgotten_when_the_next_play_starts(server: Server, liveness: Liveness) -> None:
    server.echoes = True
    checks(server, liveness, 2)
    server.echoes = False
    checks(server, liveness, 1)
    server.echoes = True
    liveness.start_watching()
    checks(server, liveness, 1)
    assert liveness.gap_since is None


def test_one_lost_echo_is_no_gap(server: Server, liveness: Liveness) -> None:
    server.echoes = True
    checks(server, liveness, 2)
    server.echoes = False
    checks(server, liveness, 0.3)
    server.echoes = True
    checks(server, liveness, 1)
    assert liveness.gap_since is None


async def test_a_server_that_echoed_and_stops_is_lost(server: Server, liveness: Liveness) -> None:
    server.echoes = True
    assert checks(server, liveness, 2) is None
    assert await liveness.echoes()
    server.echoes = False
    last = liveness.last_packet
    assert checks(server, liveness, MAX_SILENT_SECONDS - 1.5) is None
    assert checks(server, liveness, 2.0) == last


async def test_after_a_server_that_echoed_the_next_is_expected_to(server: Server) -> None:
    liveness = liveness_of(server, echo_expected=True)
    assert checks(server, liveness, MAX_SILENT_SECONDS - 0.5) is None
    assert not await liveness.echoes()
    assert checks(server, liveness, 2.0) is not None
    assert not liveness.has_echoed
    assert liveness.next_should_echo, "a server that sends nothing at all changes nothing"


def test_after_a_server_that_only_reports_no_echo_is_expected(
    server: Server,
) -> None:
    liveness = liveness_of(server, echo_expected=True)
    checks(server, liveness, 1)
    server.sends(REPORT)
    assert not liveness.next_should_echo


def test_without_echoes_only_a_late_report_shows_what_arrived(
    server: Server, liveness: Liveness
) -> None:
    for _ in range(4):
        checks(server, liveness, 2)
        server.sends(REPORT)
    last = liveness.last_packet
    checks(server, liveness, 2)
    assert liveness.arrived_until is None
    checks(server, liveness, 1.5)
    assert liveness.arrived_until == last


async def test_speech_without_an_echo_at_its_end_was_not_heard(
    server: Server, liveness: Liveness
) -> None:
    """However short it was."""
    server.sends(KEEPALIVE)
    server.now += 600
    liveness.start_watching()
    checks(server, liveness, 0.5)
    assert not await liveness.echoes()
    server.echoes = True
    assert await liveness.echoes()


def test_reports_at_long_intervals_are_waited_for(server: Server, liveness: Liveness) -> None:
    for _ in range(4):
        checks(server, liveness, 5)
        server.sends(REPORT)
    assert checks(server, liveness, 14) is None
    assert checks(server, liveness, 3) is not None


def test_intervals_while_nothing_is_played_do_not_count(server: Server, liveness: Liveness) -> None:
    for _ in range(4):
        checks(server, liveness, 1)
        server.sends(REPORT)
    liveness.stop_watching()
    server.now += 300
    server.sends(REPORT)
    liveness.start_watching()
    assert checks(server, liveness, MAX_SILENT_SECONDS + 1) is not None
