"""The listen page over HTTP: what is said in the voice channel is heard, when it is said."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import numpy as np
import pytest

from bot.demo.listen import Broadcast, listen_page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from numpy.typing import NDArray

pytestmark = pytest.mark.realtime

RATE = 48_000
FRAME = 960


def tones(*pitches: float, seconds: float) -> list[bytes]:
    """Tones as frames of 20 ms."""
    times = np.arange(round(seconds * RATE)) / RATE
    waves = [8_000 * np.sin(2 * np.pi * pitch * times) for pitch in pitches]
    pcm = np.repeat(np.concatenate(waves).astype("<i2"), 2).tobytes()
    size = FRAME * 4
    return [pcm[at : at + size] for at in range(0, len(pcm), size)]


def heard_in(stream: bytes) -> NDArray[np.float32]:
    """The left channel of what was received, within -1 and 1."""
    return np.frombuffer(stream, "<i2")[::2].astype(np.float32) / np.float32(32_768)


def pitch_of(samples: NDArray[np.float32]) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * RATE / len(samples))


def sounding(samples: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether each 20 ms holds sound."""
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    return np.asarray(np.abs(frames).max(axis=1) > 0.05)


async def speak(broadcast: Broadcast, frames: list[bytes]) -> None:
    """Say frames at the pace of a player, from a thread as it does."""

    def play() -> None:
        for frame in frames:
            broadcast.send(frame)
            time.sleep(0.02)

    await asyncio.to_thread(play)


@asynccontextmanager
async def listening(broadcast: Broadcast) -> AsyncIterator[aiohttp.StreamReader]:
    """Open the page's stream, as the browser does."""
    async with (
        listen_page(broadcast, port=0) as address,
        aiohttp.ClientSession() as http,
        http.get(address + "live.pcm") as response,
    ):
        assert response.status == 200
        yield response.content


async def read_for(stream: aiohttp.StreamReader, seconds: float) -> bytes:
    """Read what comes in that time."""
    heard = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for data in stream.iter_any():
                heard += data
    except TimeoutError:
        pass
    return bytes(heard)


async def test_what_is_said_is_heard_at_once_in_order_and_whole() -> None:
    broadcast = Broadcast()
    async with listening(broadcast) as stream:
        assert await read_for(stream, 0.3) == b"", "nothing is said yet"
        said = asyncio.create_task(speak(broadcast, tones(440, 880, seconds=0.5)))
        begun = heard_in(await read_for(stream, 0.5))
        heard = np.concatenate([begun, heard_in(await read_for(stream, 1.0))])
        await said
    assert len(begun) / RATE == pytest.approx(0.5, abs=0.15), "when it was said"
    assert len(heard) == RATE, "all of it, and nothing else"
    assert sounding(heard).all(), "without a hole"
    assert pitch_of(heard[: RATE // 2]) == pytest.approx(440, abs=5)
    assert pitch_of(heard[RATE // 2 :]) == pytest.approx(880, abs=5)


async def test_somebody_who_comes_later_hears_from_then_on() -> None:
    broadcast = Broadcast()
    await speak(broadcast, tones(440, seconds=0.2))
    async with listening(broadcast) as stream:
        said = asyncio.create_task(speak(broadcast, tones(880, seconds=0.6)))
        heard = heard_in(await read_for(stream, 0.8))
        await said
    assert pitch_of(heard) == pytest.approx(880, abs=5)


async def test_a_listener_who_does_not_read_costs_nobody_anything() -> None:
    broadcast = Broadcast()
    with broadcast.listener() as idle:
        for frame in tones(440, seconds=8.0):
            broadcast.send(frame)
        async with listening(broadcast) as stream:
            said = asyncio.create_task(speak(broadcast, tones(880, seconds=0.4)))
            heard = heard_in(await read_for(stream, 0.6))
            await said
        assert idle.qsize() * FRAME == 5 * RATE, "later ones are dropped"
    assert pitch_of(heard[-RATE // 5 :]) == pytest.approx(880, abs=5)


async def test_the_page_is_only_for_this_machine() -> None:
    async with listen_page(Broadcast(), port=0) as address, aiohttp.ClientSession() as http:
        assert address.startswith("http://127.0.0.1:")
        async with http.get(address) as page:
            assert page.status == 200
            assert "live.pcm" in await page.text()
        async with http.get(address, headers={"Host": "rebound.example"}) as page:
            assert page.status == 403


async def test_the_page_ends_with_listeners_on_it() -> None:
    async with aiohttp.ClientSession() as http:
        async with listen_page(Broadcast(), port=0) as address:
            response = await http.get(address + "live.pcm")
        with pytest.raises(aiohttp.ClientError):
            await asyncio.wait_for(response.content.read(), 10)
        response.close()
