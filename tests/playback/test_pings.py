"""What the answers to pings tell, and that nothing else tells anything."""

from __future__ import annotations

import os
import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.playback.pings import (
    MIN_ANSWERS,
    PING,
    PONG,
    SECONDS_TO_MISS,
    Kind,
    PingTracker,
    kind_of,
)

RECEIVER_REPORT = struct.pack(">BBHI", 0x81, 201, 7, 1) + bytes(44)
OTHERS = (
    struct.pack(">BBHI", 0x80, 200, 6, 1) + bytes(40),  # a sender report
    struct.pack(">BBHII", 0x90, 0x78, 7, 960, 1) + bytes(100),  # somebody's speech
    bytes(8),
    b"\x00\x02\x00\x46" + bytes(70),  # an answer to IP discovery
)


def answer(ping: bytes, how: bytes = PONG) -> bytes:
    return how + ping[len(how) :]


def pinged(answers: list[bool], *, round_trip: float = 0.05, how: bytes = PONG) -> PingTracker:
    """A tracker after one ping a second from 0 s, of which these were answered."""
    tracker = PingTracker()
    for second, is_answered in enumerate(answers):
        ping = tracker.ping(second)
        if is_answered:
            tracker.receive(answer(ping, how), second + round_trip)
    return tracker


def test_a_ping_is_what_native_clients_send() -> None:
    tracker = PingTracker()
    assert tracker.ping(0.0) == bytes.fromhex("1337cafe01000000")
    assert tracker.ping(1.0) == bytes.fromhex("1337cafe02000000")


@pytest.mark.parametrize("how", [PING, PONG], ids=["echoed", "answered"])
def test_a_server_that_stops_answering_is_missed_after_six_seconds(how: bytes) -> None:
    tracker = pinged([True] * 5 + [False] * 7, how=how)  # the first without an answer is sent at 5
    assert not tracker.is_missing(5.0 + SECONDS_TO_MISS - 0.1)
    assert tracker.is_missing(5.0 + SECONDS_TO_MISS)
    assert tracker.proven_until(11.0) == 4.0


def test_ten_seconds_of_silence_soon_after_the_start_are_noticed() -> None:
    tracker = pinged([True] * MIN_ANSWERS + [False] * 10)
    assert tracker.is_missing(MIN_ANSWERS + 10.0)


def test_an_answer_ends_the_silence() -> None:
    tracker = pinged([True] * 5 + [False] * 7)
    tracker.receive(answer(tracker.ping(12.0)), 12.1)
    assert not tracker.is_missing(12.5)
    assert tracker.proven_until(12.5) is None


def test_a_report_keeps_the_connection_but_proves_nothing() -> None:
    tracker = pinged([True] * 5 + [False] * 7)
    tracker.receive(RECEIVER_REPORT, 10.0)
    assert not tracker.is_missing(12.0)
    assert tracker.have_stopped(12.0)
    assert tracker.proven_until(12.0) == 4.0
    assert tracker.is_missing(10.0 + SECONDS_TO_MISS)


def test_reports_that_no_longer_come_are_not_missed() -> None:
    tracker = pinged([False] * 20)
    tracker.receive(RECEIVER_REPORT, 5.0)
    assert not tracker.is_missing(60.0)
    assert tracker.proven_until(60.0) is None


@given(st.lists(st.booleans(), max_size=40), st.floats(0, 100))
def test_a_server_is_missed_only_if_it_used_to_answer(answers: list[bool], later: float) -> None:
    tracker = pinged(answers)
    if tracker.is_missing(len(answers) + later):
        last = len(answers) - answers[::-1].index(True)
        recent = answers[max(0, last - 10) : last]
        assert sum(recent) >= MIN_ANSWERS
        assert sum(recent) / len(recent) >= 0.8


@given(st.integers(0, 2**32))
def test_a_server_that_answers_every_fifth_ping_is_never_missed(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - nothing secret
    first = rng.randrange(5)
    tracker = PingTracker()
    for second in range(60):
        ping = tracker.ping(second)
        if second % 5 == first:
            tracker.receive(answer(ping), second + rng.uniform(0.0, 0.3))
        assert not tracker.is_missing(second + 0.9)


@given(st.floats(0.0, 0.9))
def test_a_slow_server_is_not_late(round_trip: float) -> None:
    tracker = PingTracker()
    waiting = b""
    for second in range(20):
        if waiting:
            tracker.receive(waiting, second - 1 + round_trip)
        assert not tracker.is_late(second)
        waiting = answer(tracker.ping(second))


@given(st.lists(st.sampled_from(OTHERS) | st.binary(max_size=200), max_size=30))
def test_whatever_else_comes_tells_nothing(packets: list[bytes]) -> None:
    quiet = pinged([True] * 5 + [False] * 7)
    busy = pinged([True] * 5 + [False] * 7)
    silent = PingTracker()
    for packet in packets:
        if kind_of(packet) is not Kind.RECEIVER_REPORT:
            busy.receive(packet, 10.0)
            silent.receive(packet, 10.0)
    for now in (10.0, 12.0, 20.0):
        assert busy.is_missing(now) == quiet.is_missing(now)
        assert busy.proven_until(now) == quiet.proven_until(now)
        assert not silent.is_missing(now)


def test_answers_to_pings_that_were_never_sent_do_not_count() -> None:
    tracker = PingTracker()
    for second in range(10):
        tracker.ping(second)
        tracker.receive(PONG + os.urandom(4), second)
    assert not tracker.is_answered_regularly


@pytest.mark.parametrize(
    ("packet", "kind"),
    [
        (PING + bytes(4), Kind.ECHO),
        (PONG + bytes(4), Kind.PONG),
        (PONG + bytes(5), Kind.UNKNOWN),
        (RECEIVER_REPORT, Kind.RECEIVER_REPORT),
        (OTHERS[0], Kind.SENDER_REPORT),
        (OTHERS[1], Kind.RTP),
        (OTHERS[2], Kind.UNKNOWN),
        (OTHERS[3], Kind.DISCOVERY),
        (b"\x80\xcc" + bytes(20), Kind.RTCP),
        (b"", Kind.UNKNOWN),
    ],
)
def test_kinds_of_packets(packet: bytes, kind: Kind) -> None:
    assert kind_of(packet) is kind
