"""One guild's voice call, with what a test asks of it."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.voice_server.address import Address
from tests.support.voice_server.faults import Faults
from tests.support.voice_server.hearing import Ear, Heard
from tests.support.voice_server.modes import SILENT

if TYPE_CHECKING:
    from tests.support.voice_server.modes import Span
    from tests.support.voice_server.region import VoiceRegion
    from tests.support.voice_server.rtp import Packet
    from tests.support.voice_server.session import Session

LISTENING_INTERVAL_SECONDS = 0.02


@dataclass(frozen=True)
class Admission:
    """What Discord has told the bot, which the bot has to present to the voice server."""

    channel_id: int
    session_id: str
    token: str


class Call:
    """The voice server's side of one guild: what was heard there, and faults to cause.

    Attributes:
        faults: What goes wrong from now on.
        mode: How the server behaves where Discord promises nothing, from now on.
        somebody_talks: Whether other members talk now; None if the mode decides.
        admission: What the bot has to present; None while it is in no voice channel.
        listeners: How many others are in the call. Without any, speech is not end-to-end
            encrypted. While the bot is there, use `listener_joins` and `listener_leaves`.
        has_dave: Whether the call is end-to-end encrypted at all; a stage's is not.
        packets: The speech packets in order of arrival, without forgotten ones.
        sessions: The bot's connections, the oldest first.
        sent_to_nobody: How many packets came for a connection that had ended.
    """

    def __init__(self, region: VoiceRegion, *, guild_id: int, bot_id: int) -> None:
        self.guild_id = guild_id
        self.bot_id = bot_id
        self.faults = Faults()
        self.mode = SILENT
        self.somebody_talks: bool | None = None
        self.admission: Admission | None = None
        self.listeners = 1
        self.has_dave = True
        self.packets: list[Packet] = []
        self.sessions: list[Session] = []
        self.sent_to_nobody = 0
        self._region = region
        self._addresses: list[Address] = []
        self._opened = 0
        self._rng = random.Random(guild_id)  # noqa: S311 - which packets get lost is no secret
        self._ear = Ear(self.packets)

    @property
    def endpoint(self) -> str:
        """The address that Discord currently announces for this call."""
        return self._addresses[-1].endpoint

    @property
    def is_speaking(self) -> bool:
        """Whether the bot is connected and has set its speaking flag: the green ring."""
        return self.is_connected and self.sessions[-1].speaking

    @property
    def unintelligible(self) -> int:
        """How many packets were not encrypted for everybody who listened."""
        return self._ear.unintelligible

    @property
    def is_connected(self) -> bool:
        """Whether the bot's latest connection is open, whatever the bot believes."""
        return bool(self.sessions) and self.sessions[-1].is_open

    async def heard(self, *, seconds: float = 0.0, since: float = 0.0) -> Heard:
        """What was heard in this call.

        Args:
            seconds: How long to listen before.
            since: Leave out what arrived before that `time.time()`.
        """
        await asyncio.sleep(seconds)
        return (await asyncio.to_thread(self._ear.catch_up)).since(since)

    def forget(self, before: float) -> None:
        """Drop what was heard before that `time.time()`, so that long tests stay small."""
        self._ear.forget(before)

    async def heard_until_quiet(
        self, *, quiet_seconds: float = 0.4, within: float = 20.0, since: float = 0.0
    ) -> Heard:
        """What was heard until the bot fell silent; waits for it to begin.

        Raises `AssertionError` if it does not begin, or does not end, `within` so many seconds.
        """
        deadline = time.time() + within
        while time.time() < deadline:
            heard = (await self.heard(seconds=LISTENING_INTERVAL_SECONDS, since=since)).audible()
            if heard.frames and time.time() - heard.frames[-1].arrived > quiet_seconds:
                return heard
        heard = (await self.heard(since=since)).audible()
        state = "does not stop speaking" if heard.frames else "says nothing"
        raise AssertionError(f"After {within:g} seconds the bot still {state}.")

    async def begins(self, *, within: float = 10.0, since: float = 0.0) -> float:
        """Wait for the first sound since then; return when it arrived, as `time.time()`."""
        deadline = time.time() + within
        while time.time() < deadline:
            heard = (await self.heard(seconds=LISTENING_INTERVAL_SECONDS, since=since)).audible()
            if heard.frames:
                return heard.frames[0].arrived
        raise AssertionError(f"After {within:g} seconds the bot still says nothing.")

    async def close(self, code: int, *, session: Session | None = None) -> None:
        """End the bot's current connection, or another, with a close code; 1006 aborts it."""
        await self._region.run(_close(session or self.sessions[-1], code))

    def udp_dies(self, *, to_server: bool = True, to_bot: bool = True) -> None:
        """Drop all UDP packets of the bot's current connection, both ways or one."""
        self.sessions[-1].deaf |= to_server
        self.sessions[-1].mute |= to_bot

    def udp_revives(self) -> None:
        """Let UDP packets of the current connection through again."""
        self.sessions[-1].deaf = self.sessions[-1].mute = False

    def stalls(self) -> None:
        """Drop all UDP packets of the current connection, and answer no heartbeats."""
        self.udp_dies()
        self.sessions[-1].dumb = True

    async def listener_joins(self) -> None:
        """Add a listener."""
        self.listeners += 1
        await self._update_group()

    async def listener_leaves(self) -> None:
        """Remove the listener who was there first."""
        self.listeners -= 1
        await self._update_group()

    async def new_address(self) -> str:
        """Serve the call at another address from now on; return its endpoint.

        Connections at the old address stay open until either side closes them.
        """
        await self._region.run(self.open_address())
        return self.endpoint

    async def old_addresses_vanish(self) -> None:
        """Every address but the newest stops answering."""
        gone, self._addresses = self._addresses[:-1], self._addresses[-1:]
        for address in gone:
            await self._region.run(address.close())

    def draw(self, span: Span) -> float:
        """A time between the shortest and the longest, in seconds."""
        return self._rng.uniform(*span)

    def round_trip(self) -> float:
        """How long the next message takes there and back, in seconds."""
        return 0.0 if self.mode.round_trip is None else self.draw(self.mode.round_trip)

    def loses_packet(self) -> bool:
        """Whether the packet that just arrived counts as lost on the way."""
        return self._rng.random() < self.faults.drop_share

    async def open_address(self) -> None:
        """Answer at one more address; in the server's thread."""
        address = Address(self, self._opened)
        self._opened += 1
        await address.open()
        self._addresses.append(address)

    async def shut_down(self) -> None:
        """End everything; in the server's thread."""
        for address in self._addresses:
            await address.close()

    async def _update_group(self) -> None:
        if self.is_connected:
            await self._region.run(self.sessions[-1].update_group())


async def _close(session: Session, code: int) -> None:
    """Close a connection; in the server's thread."""
    session.close(code)
