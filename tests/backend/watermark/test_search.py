"""The search for the mark: after changes of speed and pitch, too, and never more than is needed."""

from __future__ import annotations

import asyncio
import subprocess
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from backend.contract import BackendBusyError
from backend.watermark.search import COARSE_PERCENT, LOUDEST_PIECES, MAX_SEARCHES, WatermarkSearch
from bot.audio.decode import ffmpeg_path
from tests.backend.watermark.marking import mark
from tests.support.recordings import as_file, speech

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backend.watermark.search import Finding
    from backend.watermark.watermark import Watermarker

RATE = 24_000


def speed(factor: float) -> str:
    """Play faster and higher, as on a turntable."""
    return f"asetrate={RATE * factor:.0f},aresample={RATE}"


def pitch(factor: float) -> str:
    """Higher, but not faster."""
    return f"{speed(factor)},atempo={1 / factor}"


CHANGES: dict[str, tuple[str, str, float]] = {
    "opus": ("anull", "24k", 1.0),
    "mp3": ("anull", "32k", 1.0),
    "resampled": ("aresample=8000,aresample=44100", "64k", 1.0),
    "slower": (speed(0.9), "32k", 0.9),
    "a little slower": (speed(0.97), "32k", 0.97),
    "a little faster": (speed(1.03), "32k", 1.03),
    "faster": (speed(1.1), "32k", 1.1),
    "lower": (pitch(0.9), "32k", 0.9),
    "higher": (pitch(1.1), "32k", 1.1),
    "tempo": ("atempo=1.1", "32k", 1.0),
    "echo": ("aecho=0.8:0.6:60:0.4", "64k", 1.0),
}
"""Filters of ffmpeg, the bitrate of the file that is made then, and the speed that results."""


def changed(samples: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """What is heard of a recording after a change."""
    filters, bitrate, _ = CHANGES[name]
    kind = "mp3" if name == "mp3" else "ogg"
    file = as_file(samples, RATE, kind, "-af", filters, "-b:a", bitrate)
    command = [ffmpeg_path(), "-nostdin", "-loglevel", "error", "-i", "pipe:0"]
    command += ["-f", "f32le", "-ac", "1", "-ar", str(RATE), "pipe:1"]
    done = subprocess.run(command, input=file, capture_output=True, check=True)  # noqa: S603 - our own arguments
    return np.frombuffer(done.stdout, np.float32)


def quiet_speech(seconds: float) -> NDArray[np.float32]:
    """Speech whose mark cannot push it over full scale."""
    return speech(seconds) * np.float32(0.5)


@pytest.fixture(scope="module")
def marked(watermarker: Watermarker) -> NDArray[np.float32]:
    """Two seconds of speech, marked."""
    return mark(watermarker, quiet_speech(2))


async def found(watermarker: Watermarker, samples: NDArray[np.float32]) -> Finding:
    return await WatermarkSearch(watermarker).search(samples)


@pytest.mark.parametrize("change", CHANGES)
async def test_the_mark_is_found_after(
    watermarker: Watermarker, marked: NDArray[np.float32], change: str
) -> None:
    finding = await found(watermarker, changed(marked, change))
    assert finding.is_marked
    assert finding.speed == pytest.approx(CHANGES[change][2], abs=0.021)


async def test_the_mark_is_found_in_noise_at_another_speed(
    watermarker: Watermarker, marked: NDArray[np.float32]
) -> None:
    faster = changed(marked, "a little faster")
    loudness = np.sqrt(np.mean(np.square(faster)))
    noise = np.random.default_rng(1).normal(0, loudness / 10, len(faster))
    assert (await found(watermarker, (faster + noise).astype(np.float32))).is_marked


@pytest.mark.parametrize("change", ["mp3", "slower", "higher"])
async def test_nothing_is_found_in_unmarked_speech_after(
    watermarker: Watermarker, change: str
) -> None:
    finding = await found(watermarker, changed(quiet_speech(2), change))
    assert not finding.is_marked
    assert finding.confidence < 0.25


class ScriptedWatermarker:
    """Finds a mark in pieces of one level, at one speed.

    Attributes:
        asked: The loudness and the speed of each piece that it was given.
    """

    THRESHOLD = 0.5

    def __init__(self, percent: int = 0, level: float = 0.0, beside: float = 0.0) -> None:
        self.percent, self.level, self.beside = percent, level, beside
        self.asked: list[tuple[float, int]] = []

    def confidence(self, samples: NDArray[np.float32], *, speed: float = 1.0) -> float:
        level, percent = round(float(samples.max(initial=0.0)), 3), round(100 * speed)
        self.asked.append((level, percent))
        if level != self.level:
            return 0.0
        return {0: 1.0, 1: self.beside}.get(abs(percent - self.percent), 0.0)


def search_with(watermarker: ScriptedWatermarker) -> WatermarkSearch:
    return WatermarkSearch(cast("Watermarker", watermarker))


def pieces(*levels: float, rest: float = 0.0) -> NDArray[np.float32]:
    """Ten seconds of each level, and some seconds of the last one."""
    last = np.full(round(rest * RATE), levels[-1])
    return np.concatenate([*(np.full(10 * RATE, each) for each in levels), last]).astype(np.float32)


async def test_it_ends_where_the_mark_is_found() -> None:
    watermarker = ScriptedWatermarker(100, 0.2)
    finding = await search_with(watermarker).search(pieces(0.1, 0.2, 0.3))
    assert finding == (True, 1.0, 1.0)
    assert watermarker.asked == [(0.1, 100), (0.2, 100)]


async def test_at_other_speeds_only_the_loudest_pieces_are_searched() -> None:
    watermarker = ScriptedWatermarker()
    assert await search_with(watermarker).search(pieces(0.1, 0.4, 0.2, 0.3)) == (False, 0.0, 1.1)
    first, others = watermarker.asked[:4], watermarker.asked[4:]
    assert [percent for _, percent in first] == [100] * 4
    assert others == [(level, each) for each in COARSE_PERCENT for level in (0.4, 0.3, 0.2)]
    assert len(others) == LOUDEST_PIECES * len(COARSE_PERCENT)


async def test_a_hint_is_followed_to_the_speed_beside_it() -> None:
    watermarker = ScriptedWatermarker(95, 0.1, beside=0.3)
    assert await search_with(watermarker).search(pieces(0.1)) == (True, 1.0, 0.95)
    assert [percent for _, percent in watermarker.asked if percent % 2] == [95]


@pytest.mark.parametrize(("rest", "count"), [(0.0, 1), (0.9, 1), (1.1, 2)])
async def test_a_short_rest_belongs_to_the_piece_before_it(rest: float, count: int) -> None:
    watermarker = ScriptedWatermarker()
    await search_with(watermarker).search(pieces(0.1, rest=rest))
    assert len([percent for _, percent in watermarker.asked if percent == 100]) == count


async def test_nothing_is_marked_in_nothing() -> None:
    finding = await search_with(ScriptedWatermarker()).search(np.zeros(0, np.float32))
    assert not finding.is_marked


async def test_too_many_searches_are_refused_and_cancelled_ones_make_room() -> None:
    search = search_with(ScriptedWatermarker())
    tasks = [asyncio.create_task(search.search(pieces(0.1))) for _ in range(MAX_SEARCHES)]
    await asyncio.sleep(0)
    with pytest.raises(BackendBusyError):
        await search.search(pieces(0.1))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await search.search(pieces(0.1))
