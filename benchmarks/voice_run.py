"""Runs one bot process that plays in several guilds at once, and measures its packets."""

from __future__ import annotations

import asyncio
import re
import resource
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, cast

import numpy as np

from backend.contract import PcmChunk
from benchmarks.metronome import Metronome
from benchmarks.voice_server import RemoteRegion
from bot.log import configure_logging
from bot.settings import Settings
from tests.support.discord_server import NO_LIMITS, open_server
from tests.support.scripted_backend import SAMPLE_RATE, ScriptedBackend
from tests.support.voice_guild import eventually, open_voice

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from backend.contract import SpeechRequest
    from benchmarks.voice_server import Arrival, RemoteCall
    from tests.support.voice_guild import Speaker, VoiceGuild, VoiceWorld
    from tests.support.voice_server.region import VoiceRegion

ITEM_SECONDS = 5.0
CHUNK_SECONDS = 0.32
SECONDS_TO_FIRST_CHUNK = 0.15
SPEED = 2.0
"""How much faster than real time the synthetic backend is, after its first chunk."""

SPREAD_SECONDS = 2.0
"""The guilds start one after the other within this time. Then all of them play at once."""

SECONDS_BETWEEN_LOOKS = 0.01
FRAME_SECONDS = 0.02
SOUND_BYTES = 100
"""Packets of silence are smaller than this, packets with sound are not."""

PAGE_BYTES = resource.getpagesize()


class SyntheticBackend(ScriptedBackend):
    """Yields precomputed noise, so that it needs hardly any CPU time itself.

    Attributes:
        began: When each item was requested, by its number, in the time of `time.time()`.
        first_chunks: When the first chunk of each item was sent.
    """

    def __init__(self) -> None:
        super().__init__()
        self.began: dict[int, float] = {}
        self.first_chunks: dict[int, float] = {}
        noise = np.random.default_rng(5).normal(0.0, 4_000.0, round(ITEM_SECONDS * SAMPLE_RATE))
        self._pcm = noise.clip(-32_768, 32_767).astype("<i2").tobytes()

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        """Yield noise at a constant speed."""
        number = number_in(request.text)
        self.began[number] = time.time()
        step = round(CHUNK_SECONDS * SAMPLE_RATE) * 2
        due = time.perf_counter() + SECONDS_TO_FIRST_CHUNK
        for start in range(0, len(self._pcm), step):
            await asyncio.sleep(due - time.perf_counter())
            due += CHUNK_SECONDS / SPEED
            self.first_chunks.setdefault(number, time.time())
            yield PcmChunk(self._pcm[start : start + step], SAMPLE_RATE)


def number_in(text: str) -> int:
    """The item's number in a text."""
    found = re.search(r"\d+", text)
    assert found is not None  # noqa: S101 - every text here has one
    return int(found[0])


@dataclass
class Measured:
    """The measurements while several guilds played at once.

    Attributes:
        jitter: How far the time between two packets of an item was from 20 ms, in ms.
        overhead: The time from `/say` to the first packet, minus the backend's time to its first
            chunk, in ms.
        overhead_to_sound: The same to the first packet with sound, in ms.
        loop_delay: How late the event loop resumed a task, in ms.
        underruns: How often an item was interrupted by silence.
        items: How many items were played.
        cpu_seconds: The CPU time of all threads of the bot's process.
        wall_seconds: The total time.
    """

    jitter: list[float] = field(default_factory=list)
    overhead: list[float] = field(default_factory=list)
    overhead_to_sound: list[float] = field(default_factory=list)
    loop_delay: list[float] = field(default_factory=list)
    underruns: int = 0
    items: int = 0
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0

    def figures(self, guilds: int) -> dict[str, float]:
        """Summarize the measurements."""
        return {
            "items": self.items,
            "packets": len(self.jitter),
            "jitter_p50_ms": _quantile(self.jitter, 0.5),
            "jitter_p99_ms": _quantile(self.jitter, 0.99),
            "jitter_max_ms": max(self.jitter),
            "underruns": self.underruns,
            "overhead_p50_ms": _quantile(self.overhead, 0.5),
            "overhead_p99_ms": _quantile(self.overhead, 0.99),
            "overhead_to_sound_p50_ms": _quantile(self.overhead_to_sound, 0.5),
            "overhead_to_sound_p99_ms": _quantile(self.overhead_to_sound, 0.99),
            "loop_delay_p99_ms": _quantile(self.loop_delay, 0.99),
            "loop_delay_max_ms": max(self.loop_delay),
            "cpu_percent_per_guild": 100 * self.cpu_seconds / self.wall_seconds / guilds,
        }


def measure(guilds: int, rounds: int) -> dict[str, float]:
    """Play in `guilds` guilds at once, for `rounds` rounds; return the figures."""
    configure_logging(Settings(_env_file=None, log_level="WARNING"))
    with TemporaryDirectory() as folder, Metronome() as machine:
        figures = asyncio.run(_measure(Path(folder), guilds, rounds))
    return {**figures, "machine_jitter_p99_ms": _quantile(machine.jitter, 0.99)}


async def _measure(folder: Path, guilds: int, rounds: int) -> dict[str, float]:
    backend = SyntheticBackend()
    region = cast("VoiceRegion", RemoteRegion())
    async with (
        open_server(folder, backend, **NO_LIMITS) as server,
        open_voice(server, guilds=guilds, region=region) as world,
    ):
        speakers = [await guild.speaker(f"speaker {at}") for at, guild in enumerate(world.guilds)]
        before = _resident_bytes()
        await _round(world, speakers, 0)  # a warm-up, in which the bot joins the channels
        measured = Measured()
        for number in range(1, rounds + 1):
            with _watched(measured):
                said = await _round(world, speakers, number)
            await _judge(world, backend, said, measured)
        memory = (_resident_bytes() - before) / guilds / 2**20
        return {**measured.figures(guilds), "memory_mib_per_guild": memory}


async def _round(
    world: VoiceWorld, speakers: Sequence[Speaker], number: int
) -> list[tuple[int, float]]:
    """Use `/say` in every guild; return each item's number, and when it was requested."""
    said = []
    for index, speaker in enumerate(speakers):
        item = number * len(speakers) + index
        said.append((item, time.time()))
        await speaker.types("say", text=f"This is number {item}.", where="voice")
        await asyncio.sleep(SPREAD_SECONDS / len(speakers))
    players = world.guilds[0].server.bot.players
    await eventually(
        lambda: not any(players.of(guild.handle.id).is_busy for guild in world.guilds),
        within=10 * ITEM_SECONDS,
    )
    return said


async def _judge(
    world: VoiceWorld,
    backend: SyntheticBackend,
    said: Sequence[tuple[int, float]],
    measured: Measured,
) -> None:
    """Evaluate the packets of one round."""
    for guild, (item, asked) in zip(world.guilds, said, strict=True):
        arrivals = await _arrivals(guild, since=asked)
        sounding = [at for at, arrival in enumerate(arrivals) if arrival.size >= SOUND_BYTES]
        speech = arrivals[sounding[0] : sounding[-1] + 1]
        own = backend.first_chunks[item] - backend.began[item]
        measured.items += 1
        measured.overhead.append((arrivals[0].at - asked - own) * 1_000)
        measured.overhead_to_sound.append((speech[0].at - asked - own) * 1_000)
        times = np.array([arrival.at for arrival in speech])
        measured.jitter += list(np.abs(np.diff(times) - FRAME_SECONDS) * 1_000)
        silent = np.array([arrival.size < SOUND_BYTES for arrival in speech])
        measured.underruns += int(np.count_nonzero(np.diff(silent.astype(np.int8)) == 1))


async def _arrivals(guild: VoiceGuild, *, since: float) -> list[Arrival]:
    call = cast("RemoteCall", guild.call)
    return [arrival for arrival in await asyncio.to_thread(call.arrivals) if arrival.at >= since]


@contextmanager
def _watched(measured: Measured) -> Iterator[None]:
    """Measure the CPU time of the process, and how late the event loop resumes a task."""

    async def look() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
            late = time.perf_counter() - began - SECONDS_BETWEEN_LOOKS
            measured.loop_delay.append(late * 1_000)

    task = asyncio.create_task(look())
    began, cpu = time.perf_counter(), time.process_time()
    try:
        yield
    finally:
        measured.cpu_seconds += time.process_time() - cpu
        measured.wall_seconds += time.perf_counter() - began
        task.cancel()


def _resident_bytes() -> int:
    """The resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * PAGE_BYTES


def _quantile(values: Sequence[float], share: float) -> float:
    return float(np.quantile(values, share))
