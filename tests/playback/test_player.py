"""A guild's player with a connection that does as it is told: making ahead, order, endings."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from backend.contract import GenerationFailedError
from bot.errors import Refusal
from bot.playback.player import MAX_WAITING_PER_MEMBER, GuildPlayer
from bot.playback.playout import MAX_FUTILE_TRIES
from bot.playback.producer import AHEAD_SECONDS
from bot.playback.queue import QueuedItem
from bot.playback.voice_link import Fault, Trouble
from bot.streaming import SpeechChunk

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from bot.playback.connection import Connection
    from bot.playback.source import SpeechSource

RATE = 24_000
ADA, GRACE = 1, 2


class FakeLine:
    """Takes frames as fast as it can, or not at all while `open` is clear."""

    was_interrupted = False
    known_until = None

    def __init__(self) -> None:
        self.dead = False
        self.open = asyncio.Event()
        self.open.set()
        self.played: list[SpeechSource] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def trouble(self) -> Trouble | None:
        return Trouble(Fault.SILENT, since=0.0) if self.dead else None

    async def is_answered(self) -> bool:
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
    """A connection that is fine until it is `lost`."""

    is_audible = True
    channel = None

    def __init__(self) -> None:
        self.fake = FakeLine()
        self.lost: Refusal | None = None
        self.left = False

    async def line(self) -> FakeLine:
        if self.lost is not None:
            raise self.lost
        return self.fake

    async def until_audible(self, **_options: Any) -> None:
        return

    async def give_up(self) -> Refusal:
        return Refusal("lost the connection")

    async def leave(self) -> None:
        self.left = True


class Speech:
    """What an item's backend does."""

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


def item(speech: Speech, owner: int = ADA) -> QueuedItem:
    return QueuedItem(owner, "ada", "Ada", "Hello there.", 1, speech)


async def heard(*items: QueuedItem) -> None:
    async with asyncio.timeout(5):
        for each in items:
            await each.heard()


async def test_everything_is_heard_in_turn(player: GuildPlayer, connection: FakeConnection) -> None:
    items = [item(Speech()) for _ in range(3)] + [item(Speech(), GRACE)]
    for each in items:
        player.add(each)
    await heard(*items)
    assert connection.fake.played == [items[place].source for place in (0, 3, 1, 2)]
    await asyncio.sleep(0.15)
    assert not player.is_busy


async def test_the_next_item_is_made_while_one_is_heard_but_not_all_of_them(
    player: GuildPlayer, connection: FakeConnection
) -> None:
    connection.fake.open.clear()
    speeches = [Speech(seconds=4) for _ in range(6)]
    for speech in speeches:
        player.add(item(speech))
    await asyncio.sleep(0.3)
    assert [speech.begun for speech in speeches] == [1, 1, 1, 0, 0, 0]


async def test_the_backend_is_left_to_who_is_heard_now(player: GuildPlayer) -> None:
    slow, following = Speech(), Speech()
    slow.may_go_on.clear()
    player.add(item(slow))
    player.add(item(following))
    await asyncio.sleep(0.05)
    assert following.begun == 0
    slow.may_go_on.set()
    await asyncio.sleep(0.05)
    assert following.begun == 1
    await player.close(Refusal("over"))


async def test_long_speech_is_held_only_in_part(
    player: GuildPlayer, connection: FakeConnection
) -> None:
    connection.fake.open.clear()
    long = item(Speech(seconds=60))
    player.add(long)
    await asyncio.sleep(0.3)
    assert AHEAD_SECONDS <= long.source.buffered_seconds <= AHEAD_SECONDS + 1
    await player.close(Refusal("over"))


async def test_who_is_removed_is_told_why_and_the_backend_stops(player: GuildPlayer) -> None:
    speech = Speech(seconds=60)
    current, waiting = item(speech), item(Speech())
    player.add(current)
    player.add(waiting)
    await asyncio.sleep(0.05)
    player.remove(current, Refusal("skipped"))
    with pytest.raises(Refusal, match="skipped"):
        await current.heard()
    await heard(waiting)
    assert speech.closed


async def test_an_item_whose_speech_fails_tells_so_and_others_go_on(player: GuildPlayer) -> None:
    at_once = item(Speech(seconds=0, error=GenerationFailedError("none")))
    midway = item(Speech(seconds=0.3, error=GenerationFailedError("half")))
    fine = item(Speech())
    for each in (at_once, midway, fine):
        player.add(each)
    for failed in (at_once, midway):
        with pytest.raises(GenerationFailedError):
            await failed.heard()
    assert midway.source.drained, "what there was of it is heard"
    await heard(fine)


async def test_everybody_is_told_when_the_channel_is_lost(
    player: GuildPlayer, connection: FakeConnection
) -> None:
    connection.lost = Refusal("disconnected")
    items = [item(Speech()), item(Speech(), GRACE)]
    for each in items:
        player.add(each)
    for each in items:
        with pytest.raises(Refusal, match="disconnected"):
            await heard(each)
    connection.lost = None
    again = item(Speech())
    player.add(again)
    await heard(again)


async def test_lines_by_which_nothing_is_heard_are_not_tried_for_ever(
    player: GuildPlayer, connection: FakeConnection
) -> None:
    connection.fake.dead = True
    unheard = item(Speech())
    player.add(unheard)
    with pytest.raises(Refusal, match="lost the connection"):
        await heard(unheard)
    assert len(connection.fake.played) == MAX_FUTILE_TRIES
    connection.fake.dead = False
    again = item(Speech())
    player.add(again)
    await heard(again)


async def test_a_defect_does_not_leave_the_queue_waiting(
    player: GuildPlayer, connection: FakeConnection
) -> None:
    def break_down(_source: SpeechSource) -> asyncio.Event:
        raise ZeroDivisionError

    connection.fake.play = break_down  # type: ignore[assignment]
    items = [item(Speech()), item(Speech())]
    for each in items:
        player.add(each)
    for each in items:
        with pytest.raises(Refusal, match="Something broke"):
            await heard(each)
    assert not player.is_busy


async def test_closing_ends_everything_and_leaves(
    player: GuildPlayer, connection: FakeConnection
) -> None:
    connection.fake.open.clear()
    speeches = [Speech(seconds=60), Speech(seconds=60)]
    items = [item(speech) for speech in speeches]
    for each in items:
        player.add(each)
    await asyncio.sleep(0.05)
    before = asyncio.all_tasks()
    await player.close(Refusal("restarting"))
    for each in items:
        with pytest.raises(Refusal, match="restarting"):
            await each.heard()
    assert connection.left
    assert all(speech.closed for speech in speeches if speech.begun)
    mine = asyncio.all_tasks() - {asyncio.current_task()} - connection.fake._tasks
    assert not mine & before, "nothing is left running"


async def test_the_queue_is_bounded_for_each_member(player: GuildPlayer) -> None:
    speech = Speech()
    speech.may_go_on.clear()
    player.add(item(speech))
    await asyncio.sleep(0)
    for _ in range(MAX_WAITING_PER_MEMBER):
        player.add(item(Speech()))
    with pytest.raises(Refusal, match="You have as much in the queue"):
        player.add(item(Speech()))
    player.add(item(Speech(), GRACE))
    await player.close(Refusal("over"))


async def test_places_and_estimates(player: GuildPlayer, connection: FakeConnection) -> None:
    connection.fake.open.clear()
    items = [item(Speech(seconds=3)), item(Speech(seconds=2)), item(Speech(), GRACE)]
    for each in items:
        player.add(each)
    await asyncio.sleep(0.2)
    places = player.places()
    assert [place.number for place in places] == [0, 1, 2]
    assert [place.item for place in places] == [items[0], items[2], items[1]]
    assert places[1].starts_in == pytest.approx(3.0, abs=0.1)
    assert places[2].starts_in == pytest.approx(3.3, abs=0.1)
    await player.close(Refusal("over"))
    assert player.place_of(items[0]) is None
