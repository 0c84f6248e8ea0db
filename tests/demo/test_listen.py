"""The listen page over HTTP: what is said in the voice channel is heard, when it is said."""

from __future__ import annotations

import asyncio
import io
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import av
import discord
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.demo.listen import SILENCE, Broadcast, listen_page
from bot.demo.ogg import ogg_opus_stream, padded
from bot.playback.opus import load_opus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from numpy.typing import NDArray

pytestmark = pytest.mark.realtime

RATE = 48_000
FRAME = 960


@pytest.fixture(autouse=True, scope="module")
def _opus() -> None:
    load_opus()


def tones(*pitches: float, seconds: float) -> list[bytes]:
    """Tones as Opus packets of 20 ms, after two of silence."""
    times = np.arange(round(seconds * RATE)) / RATE
    waves = [8_000 * np.sin(2 * np.pi * pitch * times) for pitch in pitches]
    mono = np.concatenate([np.zeros(2 * FRAME), *waves]).astype("<i2")
    pcm = np.repeat(mono, 2).tobytes()
    encoder = discord.opus.Encoder(fec=False, expected_packet_loss=0.01)
    size = FRAME * 4
    return [encoder.encode(pcm[at : at + size], FRAME) for at in range(0, len(pcm), size)]


def decoded(ogg: bytes) -> NDArray[np.float32]:
    """What a player makes of the first part of a stream: mono samples."""
    with av.open(io.BytesIO(ogg), "r", format="ogg") as container:
        frames = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    return np.concatenate(frames)


def pitch_of(samples: NDArray[np.float32]) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * RATE / len(samples))


def sounding(samples: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether each 20 ms holds sound."""
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    return np.asarray(np.abs(frames).max(axis=1) > 0.05)


async def speak(broadcast: Broadcast, packets: list[bytes]) -> None:
    """Say packets at the pace of a player, from a thread as it does."""

    def play() -> None:
        for packet in [*packets, SILENCE]:  # as discord.py's player ends
            broadcast.send(packet)
            time.sleep(0.02)

    await asyncio.to_thread(play)


@asynccontextmanager
async def listening(broadcast: Broadcast) -> AsyncIterator[aiohttp.StreamReader]:
    """Open the page's stream, as the browser does."""
    async with (
        listen_page(broadcast, port=0) as address,
        aiohttp.ClientSession() as http,
        http.get(address + "live.ogg") as response,
    ):
        assert response.status == 200
        assert response.content_type == "audio/ogg"
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


async def test_what_is_said_is_heard_in_order_and_whole() -> None:
    broadcast = Broadcast()
    async with listening(broadcast) as stream:
        await asyncio.sleep(0.3)
        said = asyncio.create_task(speak(broadcast, tones(440, 880, seconds=0.5)))
        heard = decoded(await read_for(stream, 2.2))
        await said
    assert len(heard) / RATE == pytest.approx(2.5, abs=0.3), "as much as time went by"
    (when,) = np.nonzero(sounding(heard))
    assert len(when) == pytest.approx(50, abs=2), "all of it, without a hole"
    assert when[-1] - when[0] + 1 == len(when)
    assert when[0] * 0.02 == pytest.approx(0.34, abs=0.15), "when it was said"
    first, middle, last = when[0] * FRAME, (when[0] + 25) * FRAME, when[-1] * FRAME
    assert pitch_of(heard[first + 2 * FRAME : middle - 2 * FRAME]) == pytest.approx(440, abs=5)
    assert pitch_of(heard[middle + 2 * FRAME : last]) == pytest.approx(880, abs=5)


async def test_silence_keeps_the_stream_going() -> None:
    async with listening(Broadcast()) as stream:
        heard = decoded(await read_for(stream, 1.0))
    assert len(heard) / RATE == pytest.approx(1.0, abs=0.25)
    assert np.abs(heard).max() < 0.001


async def test_somebody_who_comes_later_hears_from_then_on() -> None:
    broadcast = Broadcast()
    await speak(broadcast, tones(440, seconds=0.2))
    async with listening(broadcast) as stream:
        said = asyncio.create_task(speak(broadcast, tones(880, seconds=0.6)))
        heard = decoded(await read_for(stream, 0.8))
        await said
    (when,) = np.nonzero(sounding(heard))
    assert pitch_of(heard[when[0] * FRAME : when[-1] * FRAME]) == pytest.approx(880, abs=5)


async def test_a_listener_who_does_not_read_costs_nobody_anything() -> None:
    broadcast = Broadcast()
    idle = broadcast.packets()
    await anext(idle)
    for packet in tones(440, seconds=8.0):
        broadcast.send(packet)
    async with listening(broadcast) as stream:
        said = asyncio.create_task(speak(broadcast, tones(880, seconds=0.4)))
        heard = decoded(await read_for(stream, 0.6))
        await said
    assert sounding(heard).any()
    await idle.aclose()


async def test_the_page_is_only_for_this_machine() -> None:
    async with listen_page(Broadcast(), port=0) as address, aiohttp.ClientSession() as http:
        assert address.startswith("http://127.0.0.1:")
        async with http.get(address) as page:
            assert page.status == 200
            assert "live.ogg" in await page.text()
        async with http.get(address, headers={"Host": "rebound.example"}) as page:
            assert page.status == 403


async def test_the_page_ends_with_listeners_on_it() -> None:
    async with aiohttp.ClientSession() as http:
        async with listen_page(Broadcast(), port=0) as address:
            response = await http.get(address + "live.ogg")
            await response.content.readany()
        with pytest.raises(aiohttp.ClientError):
            await asyncio.wait_for(response.content.read(), 2)
        response.close()


@given(frame=st.binary(max_size=5_000), configuration=st.integers(0, 63))
def test_padding_leaves_a_packet_what_it_was(frame: bytes, configuration: int) -> None:
    opus = bytes([configuration << 2]) + frame
    packet = padded(opus)
    assert packet[0] >> 2 == configuration
    if packet != opus:
        assert len(packet) == 4_000
        unpadded, at = 0, 2
        while packet[at] == 255:
            unpadded, at = unpadded + 254, at + 1
        unpadded += packet[at]
        assert packet[at + 1 : len(packet) - unpadded] == frame


def test_silence_is_decoded_as_silence() -> None:
    with ogg_opus_stream() as stream:
        ogg = b"".join(stream.add(SILENCE) for _ in range(50))
    assert np.abs(decoded(ogg)).max() == 0
