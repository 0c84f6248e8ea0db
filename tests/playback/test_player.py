"""A guild's player with a scripted connection: prefetch, order, and how entries end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from backend.contract import GenerationFailedError
from bot.errors import Reason, Refusal
from bot.playback.player import GuildPlayer
from bot.playback.playout import MAX_FUTILE_TRIES
from bot.playback.producer import MAX_BUFFERED_SECONDS
from bot.playback.queue import MAX_WAITING_PER_MEMBER, QueueEntry
from bot.streaming import SpeechChunk

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from bot.playback.connection import Connection
    from bot.playback.source import SpeechSource

RATE = 24_000
ADA, GRACE = 1, 2
LOUNGE = 7


class FakeLink:
    """Reads frames as fast as it can, or none while `open` is clear."""

    is_understood = True
    is_stuck = False
    has_moved = False
    is_doubtful = False

    def __init__(self) -> None:
        self.is_out_of_reach = False
        self.proven_until: float | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.played: list[SpeechSource] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def until_answered(self, **_options: Any) -> bool:
        return True

    def play(self, source: SpeechSource) -> asyncio.Event:
        ended = asyncio.Event()
        self.played.append(source)
        task = asyncio.create_task(self._read(source, ended))
        self._tasks.add(task)
        return ended

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _read(self, source: SpeechSource, ended: asyncio.Event) -> None:
        while source.read():
            await self.open.wait()
            await asyncio.sleep(0)
        ended.set()


class FakeConnection:
    """A connection that works until `lost` is set."""

    is_audible = True
    channel: Any = None

    def __init__(self) -> None:
        self.link = FakeLink()
        self.lost: Refusal | None = None
        self.left = self.may_leave = False
        self.is_well = True
        self.joined_again = 0

    async def working_link(self) -> FakeLink:
        if self.lost is not None:
            raise self.lost
        return self.link

    async def join_again(self) -> None:
        self.joined_again += 1

    async def until_audible(self, **_options: Any) -> None:
        return

    async def give_up(self) -> Refusal:
        return Refusal(Reason.VOICE_CONNECTION_LOST)

    def stay_out(self) -> None:
        self.may_leave = True

    async def leave(self) -> None:
        self.left = self.may_leave


class Speech:
    """A scripted stream of speech."""

    def __init__(self, seconds: float = 0.3, error: Exception | None = None) -> None:
        self.seconds = seconds
        self.error = error
        self.begun = 0
        self.closed = False
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def __call__(self) -> AsyncGenerator[SpeechChunk, None]:
        self.begun += 1
        try:
            pcm = np.full(round(0.1 * RATE), 5_000, "<i2").tobytes()
            for _ in range(round(self.seconds / 0.1)):
                await self.may_go_on.wait()
                yield SpeechChunk(pcm, RATE)
            if self.error is not None:
                raise self.error
        finally:
            self.closed = True


@pytest.fixture
def connection() -> FakeConnection:
    return FakeConnection()


@pytest.fixture
def player(connection: FakeConnection) -> GuildPlayer:
    return GuildPlayer(cast("Connection", connection))


def entry(speech: Speech, owner: int = ADA) -> QueueEntry:
    return QueueEntry(owner, LOUNGE, owner, owner, "Ada", "Hello there.", 1, speech)


async def heard(*entries: QueueEntry) -> None:
    async with asyncio.timeout(5):
        for each in entries:
            await each.heard()


async def test_members_are_served_in_rounds(
    player: GuildPlayer, connection: FakeConnection
) -> None:
    entries = [entry(Speech()) for _ in range(3)] + [entry(Speech(), GRACE)]
    for each in entries:
        player.add(each)
    await heard(*entries)
    assert connection.link.played == [entries[index].source for index in (0, 3, 1, 2)]
    await asyncio.sleep(0.15)
    assert not player.is_busy


async def test_some_entries_are_prefetched_while_one_is_played(
    player: GuildPlayer, connection: FakeConnection
) -> None:
    connection.link.open.clear()
    speeches = [Speech(seconds=4) for _ in range(6)]
    for speech in speeches:
        player.add(entry(speech))
    await asyncio.sleep(0.3)
    assert [speech.begun for speech in speeches] == [1, 1, 1, 0, 0, 0]


async def test_the_current_entry_is_produced_before_the_next(player: GuildPlayer) -> None:
    slow, following = Speech(), Speech()
    slow.may_go_on.clear()
    player.add(entry(slow))
    player.add(entry(following))
    await asyncio.sleep(0.05)
    assert following.begun == 0
    slow.may_go_on.set()
    await asyncio.sleep(0.05)
    assert following.begun == 1
    await player.close(Refusal(Reason.STOPPED))


async def test_long_speech_is_buffered_only_in_part(
    player: GuildPlayer, connection: FakeConnection
) -> None:
    connection.link.open.clear()
    long = entry(Speech(seconds=60))
    player.add(long)
    await asyncio.sleep(0.3)
    assert MAX_BUFFERED_SECONDS <= long.source.buffered_seconds <= MAX_BUFFERED_SECONDS + 1
    await player.close(Refusal(Reason.STOPPED))


async def test_a_removed_entry_fails_with_the_reason_and_the_backend_stops(
    player: GuildPlayer,
) -> None:
    speech = Speech(seconds=60)
    current, waiting = entry(speech), entry(Speech())
    player.add(current)
    player.add(waiting)
    await asyncio.sleep(0.05)
    player.remove(current, Refusal(Reason.SKIPPED))
    with pytest.raises(Refusal, match=Reason.SKIPPED):
        await current.heard()
    await heard(waiting)
    assert speech.closed


async def test_an_entry_whose_speech_fails_raises_the_error_and_others_go_on(
    player: GuildPlayer,
) -> None:
    at_once = entry(Speech(seconds=0, error=GenerationFailedError("none")))
    midway = entry(Speech(seconds=0.3, error=GenerationFailedError("half")))
    fine = entry(Speech())
    for each in (at_once, midway, fine):
        player.add(each)
    for failed in (at_once, midway):
        with pytest.raises(GenerationFailedError):
            await failed.heard()
    assert midway.source.drained, "what was produced of it is played"
    await heard(fine)


async def test_everybody_is_told_when_the_channel_is_lost(
    player: GuildPlayer, connection: FakeConnection
) -> None:
    connection.lost = Refusal(Reason.DISCONNECTED)
    entries = [entry(Speech()), entry(Speech(), GRACE)]
    for each in entries:
        player.add(each)
    for each in entries:
        with pytest.raises(Refusal, match=Reason.DISCONNECTED):
            await heard(each)
    connection.lost = None
    again = entry(Speech())
    player.add(again)
    await heard(again)


async def test_links_that_get_nothing_through_are_not_tried_for_ever(
    player: GuildPlayer, connection: FakeConnection
) -> None:
    connection.is_well = False
    unheard = entry(Speech())
    player.add(unheard)
    with pytest.raises(Refusal, match=Reason.VOICE_CONNECTION_LOST):
        await heard(unheard)
    assert len(connection.link.played) == MAX_FUTILE_TRIES
    connection.is_well = True
    again = entry(Speech())
    player.add(again)
    await heard(again)


async def test_missing_pings_lead_to_one_new_connection_for_an_entry_and_are_told(
    player: GuildPlayer, connection: FakeConnection
) -> None:
    """The server hears the bot all the same, or not; nobody knows."""
    connection.link.is_out_of_reach = True
    for count in (1, 2):
        doubted = entry(Speech())
        player.add(doubted)
        with pytest.raises(Refusal, match=Reason.PARTLY_UNHEARD):
            await heard(doubted)
        assert doubted.source.drained, "it is played all the same"
        assert connection.joined_again == count


async def test_speech_starts_with_a_short_silence_whatever_is_ready(
    player: GuildPlayer, connection: FakeConnection
) -> None:
    connection.link.open.clear()
    ready = entry(Speech())
    player.add(ready)
    await asyncio.sleep(0.2)
    first = [ready.source.read() for _ in range(15)]
    assert not any(b"".join(first[:5])), "the first 100 ms at least"
    assert any(b"".join(first))


async def test_an_unexpected_error_ends_every_entry(
    player: GuildPlayer, connection: FakeConnection
) -> None:
    def break_down(_source: SpeechSource) -> asyncio.Event:
        raise ZeroDivisionError

    connection.link.play = break_down  # type: ignore[assignment]
    entries = [entry(Speech()), entry(Speech())]
    for each in entries:
        player.add(each)
    for each in entries:
        with pytest.raises(Refusal, match=Reason.PLAYER_FAILED):
            await heard(each)
    assert not player.is_busy


async def test_closing_ends_every_entry_and_leaves(
    player: GuildPlayer, connection: FakeConnection
) -> None:
    connection.link.open.clear()
    speeches = [Speech(seconds=60), Speech(seconds=60)]
    entries = [entry(speech) for speech in speeches]
    for each in entries:
        player.add(each)
    await asyncio.sleep(0.05)
    before = asyncio.all_tasks()
    await player.close(Refusal(Reason.PLAYER_RESTARTING))
    for each in entries:
        with pytest.raises(Refusal, match=Reason.PLAYER_RESTARTING):
            await each.heard()
    assert connection.left
    assert all(speech.closed for speech in speeches if speech.begun)
    mine = asyncio.all_tasks() - {asyncio.current_task()} - connection.link._tasks
    assert not mine & before, "nothing is left running"


async def test_the_queue_is_bounded_for_each_member(player: GuildPlayer) -> None:
    speech = Speech()
    speech.may_go_on.clear()
    player.add(entry(speech))
    await asyncio.sleep(0)
    for _ in range(MAX_WAITING_PER_MEMBER):
        player.add(entry(Speech()))
    with pytest.raises(Refusal, match=Reason.OWN_QUEUE_FULL):
        player.add(entry(Speech()))
    player.add(entry(Speech(), GRACE))
    await player.close(Refusal(Reason.STOPPED))


async def test_positions_and_estimates(player: GuildPlayer, connection: FakeConnection) -> None:
    connection.link.open.clear()
    entries = [entry(Speech(seconds=3)), entry(Speech(seconds=2)), entry(Speech(), GRACE)]
    for each in entries:
        player.add(each)
    await asyncio.sleep(0.2)
    positions = player.positions()
    assert [position.number for position in positions] == [0, 1, 2]
    assert [position.entry for position in positions] == [entries[0], entries[2], entries[1]]
    assert positions[1].starts_in == pytest.approx(3.0, abs=0.1)
    assert positions[2].starts_in == pytest.approx(3.3, abs=0.1)
    await player.close(Refusal(Reason.STOPPED))
    assert player.position_of(entries[0]) is None
