"""Runs the loopback voice server in another process, so that it uses no CPU time of the bot's."""

from __future__ import annotations

import asyncio
import multiprocessing
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

from tests.support.voice_server.modes import SILENT
from tests.support.voice_server.region import VoiceRegion

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from types import TracebackType

    from tests.support.voice_server.call import Admission
    from tests.support.voice_server.modes import Span


class Arrival(NamedTuple):
    """A packet: when the kernel received it, in the time of `time.time`, and its size in bytes."""

    at: float
    size: int


@dataclass(frozen=True)
class _Open:
    guild_id: int
    bot_id: int


@dataclass(frozen=True)
class _Admit:
    guild_id: int
    admission: Admission | None


@dataclass(frozen=True)
class _Arrivals:
    guild_id: int


class RemoteCall:
    """One guild's call, with what `tests.support.voice_guild` and the benchmark need of it.

    It behaves as the other process' call does by default: nothing is delayed, and no ping answered.

    Attributes:
        mode: How the server behaves.
        has_dave: Whether the call is end-to-end encrypted, which it always is here.
    """

    mode = SILENT
    has_dave = True

    def __init__(self, pipe: Connection, guild_id: int, bot_id: int) -> None:
        self._pipe = pipe
        self._guild_id = guild_id
        self.bot_id = bot_id
        self.endpoint = str(_ask(pipe, _Open(guild_id, bot_id)))

    def _admit(self, admission: Admission | None) -> None:
        _ask(self._pipe, _Admit(self._guild_id, admission))

    admission = property(fset=_admit, doc="Who may connect; None while the bot is in no channel.")

    def round_trip(self) -> float:
        """How long a message takes there and back, in seconds."""
        return 0.0

    def draw(self, span: Span) -> float:
        """The shortest of some seconds."""
        return span[0]

    def arrivals(self) -> list[Arrival]:
        """Every packet so far, in order."""
        packets: list[Arrival] = _ask(self._pipe, _Arrivals(self._guild_id))  # type: ignore[assignment]
        return packets


class RemoteRegion:
    """Replaces `tests.support.voice_server.region.VoiceRegion`."""

    def __init__(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs,))

    async def __aenter__(self) -> Self:
        self._process.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pipe.send(None)
        await asyncio.to_thread(self._process.join)

    async def open_call(self, guild_id: int, *, bot_id: int) -> RemoteCall:
        """Open a call with one listener."""
        return await asyncio.to_thread(RemoteCall, self._pipe, guild_id, bot_id)


def _ask(pipe: Connection, request: object) -> object:
    pipe.send(request)
    return pipe.recv()


def _serve(pipe: Connection) -> None:
    asyncio.run(_answer(pipe))


async def _answer(pipe: Connection) -> None:
    async with VoiceRegion() as region:
        while (request := await asyncio.to_thread(pipe.recv)) is not None:
            match request:
                case _Open(guild_id, bot_id):
                    call = await region.open_call(guild_id, bot_id=bot_id)
                    pipe.send(call.endpoint)
                case _Admit(guild_id, admission):
                    region.calls[guild_id].admission = admission
                    pipe.send(None)
                case _Arrivals(guild_id):
                    packets = region.calls[guild_id].packets
                    pipe.send([Arrival(packet.arrived, len(packet.data)) for packet in packets])
