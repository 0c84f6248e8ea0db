"""Whatever happens to the bot: an entry is played in the channel that it belongs to, or ends."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.errors import Reason, Refusal
from bot.playback.player import GuildPlayer
from bot.playback.queue import QueueEntry
from tests.playback.test_player import FakeConnection, FakeLink, Speech

if TYPE_CHECKING:
    from bot.playback.connection import Connection
    from bot.playback.source import SpeechSource

LOUNGE, STUDIO = 1, 2
OWNERS = (11, 12)
TOLD = {Reason.MOVED_AWAY, Reason.VOICE_CONNECTION_LOST}
"""What owners are told if not all was heard: the latter if the bot is moved again and again."""


def voice_channel(channel_id: int) -> Any:
    """A channel with both owners in it, whose states in voice keep them from nothing."""
    guild = SimpleNamespace(afk_channel=None, get_member=lambda _member_id: None, stage_channels=[])
    states = dict.fromkeys(OWNERS)
    guild.voice_channels = [SimpleNamespace(id=channel_id, guild=guild, voice_states=states)]
    return guild.voice_channels[0]


class MovedConnection(FakeConnection):
    """A connection that is in a channel, and notes which channel each frame is read in."""

    def __init__(self) -> None:
        super().__init__()
        self.channel = voice_channel(LOUNGE)
        self.heard: list[tuple[SpeechSource, int]] = []
        self.link: NotingLink = NotingLink(self)


class NotingLink(FakeLink):
    def __init__(self, connection: MovedConnection) -> None:
        super().__init__()
        self.has_ended = False
        self._connection = connection

    async def _read(self, source: SpeechSource, ended: asyncio.Event) -> None:
        while not self.has_ended:
            before = source.position
            if not source.read():
                break
            if source.position > before:
                self._connection.heard.append((source, self._connection.channel.id))
            await asyncio.sleep(0.001)  # so that most is unsaid when the bot is moved
        ended.set()


def entry(channel_id: int, owner: int, seconds: float) -> QueueEntry:
    return QueueEntry(owner, channel_id, owner, owner, "Ada", "Hello.", 1, Speech(seconds))


async def happen(events: list[tuple[Any, ...]]) -> None:
    connection = MovedConnection()
    player = GuildPlayer(cast("Connection", connection))
    entries: list[QueueEntry] = []
    for event, *details in events:
        if event == "somebody speaks":
            said = entry(connection.channel.id, *details)
            entries.append(said)
            with suppress(Refusal):
                player.add(said)
        elif event == "the bot is moved":
            channel_id, is_told = details
            connection.link.has_ended = True  # Discord ends the connection to where the bot was
            connection.channel = voice_channel(channel_id)
            if is_told:
                player.keep_only(channel_id)
            connection.link = NotingLink(connection)
        await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        ends = await asyncio.gather(*(said.heard() for said in entries), return_exceptions=True)
    for said, end in zip(entries, ends, strict=True):
        is_told = isinstance(end, Refusal) and end.reason in TOLD
        assert is_told or (end is None and said.source.drained)
    belongs = {said.source: said.channel_id for said in entries}
    assert all(belongs[source] == channel_id for source, channel_id in connection.heard)
    await player.close(Refusal(Reason.STOPPED))


speaks = st.tuples(
    st.just("somebody speaks"), st.sampled_from(OWNERS), st.sampled_from([0.1, 0.4, 2.0])
)
moves = st.tuples(st.just("the bot is moved"), st.sampled_from([LOUNGE, STUDIO]), st.booleans())


@settings(max_examples=25, deadline=None)
@given(st.lists(speaks | moves, min_size=2, max_size=8))
def test_nothing_is_heard_in_another_channel(events: list[tuple[Any, ...]]) -> None:
    asyncio.run(happen(events))
