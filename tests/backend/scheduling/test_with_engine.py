"""The scheduler with the real engine, on a miniature checkpoint."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backend.contract import BackendBusyError, SpeechRequest
from backend.engine.engine import Engine
from backend.engine.loading import load_model
from backend.scheduling.scheduler import Scheduler, SchedulerLimits
from tests.backend.conftest import make_checkpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from numpy.typing import NDArray

TEXTS = [f"Sentence number {number}, {'very ' * (number % 5)}short." for number in range(32)]


def reference(pitch: float) -> NDArray[np.float32]:
    """Four seconds of a buzz, which a miniature hears as well as any voice."""
    times = np.arange(4 * Engine.sample_rate) / Engine.sample_rate
    return (0.3 * np.sign(np.sin(2 * np.pi * pitch * times))).astype(np.float32)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """In double precision, where rounding by batch size changes no sampled code."""
    folder = make_checkpoint(tmp_path_factory, "scheduled", end_of_speech_scale=6.0)
    return Engine(
        *load_model(folder, device="cpu", dtype="float64"), watermark=None, require_consent=False
    )


@pytest.fixture(scope="module")
def requests(engine: Engine) -> list[SpeechRequest]:
    """Thirty-two sentences in four voices, of which two come with a transcript."""
    prompts = [
        engine.make_prompt(reference(pitch), transcript, None)
        for pitch, transcript in (
            (90, "A low buzz."),
            (140, None),
            (210, "A high buzz."),
            (330, None),
        )
    ]
    return [
        SpeechRequest(text, prompts[number % 4], seed=number) for number, text in enumerate(TEXTS)
    ]


@pytest.fixture(scope="module")
def expected(engine: Engine, requests: list[SpeechRequest]) -> list[NDArray[np.float32]]:
    """The speech for each request, from the engine alone; all differ."""
    loop = engine.open(engine.rows)
    speech: dict[int, NDArray[np.float32]] = {}
    waiting = deque(requests)
    while waiting or loop.rows:
        while waiting and loop.rows < engine.rows:
            speech[loop.add(waiting.popleft())] = np.zeros(0, np.float32)
        for chunk in loop.step():
            assert chunk.error is None
            before = speech[chunk.row][: 0 if chunk.restarts else None]
            speech[chunk.row] = np.concatenate([before, chunk.samples])
    assert len({samples.tobytes() for samples in speech.values()}) == len(requests)
    return list(speech.values())


@asynccontextmanager
async def serving(engine: Engine, **limits: Any) -> AsyncIterator[Scheduler]:
    scheduler = Scheduler(engine, SchedulerLimits(**limits))
    yield scheduler
    await scheduler.close()


async def spoken(
    scheduler: Scheduler, request: SpeechRequest, caller: str = "a"
) -> NDArray[np.float32]:
    pcm = b""
    with scheduler.submit(replace(request, caller=caller)) as chunks:
        async for chunk in chunks:
            pcm = chunk.pcm if chunk.restarts else pcm + chunk.pcm
    return np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32_767)


def check(heard: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    """The same speech, but for the rounding to 16 bits."""
    assert len(heard) == len(expected)
    np.testing.assert_allclose(heard, expected, atol=1e-4)


async def test_thirty_two_callers_each_hear_their_own_sentence(
    engine: Engine, requests: list[SpeechRequest], expected: list[NDArray[np.float32]]
) -> None:
    async with serving(engine, rows=8) as scheduler:
        heard = await asyncio.gather(
            *(
                spoken(scheduler, request, caller=str(number))
                for number, request in enumerate(requests)
            )
        )

    for speech, meant in zip(heard, expected, strict=True):
        check(speech, meant)


async def test_cancelling_takes_nothing_from_the_others(
    engine: Engine, requests: list[SpeechRequest], expected: list[NDArray[np.float32]]
) -> None:
    async def cancel(request: SpeechRequest) -> None:
        with scheduler.submit(replace(request, caller="cancelling")) as chunks:
            await anext(chunks)

    async with serving(engine, rows=8) as scheduler:
        cancelling = asyncio.gather(*(cancel(request) for request in requests[4:8]))
        heard = await asyncio.gather(*(spoken(scheduler, request) for request in requests[:4]))
        await cancelling
        async with asyncio.timeout(30):
            while scheduler.load().running:  # noqa: ASYNC110 - until another thread has noticed
                await asyncio.sleep(0.01)

    for speech, meant in zip(heard, expected[:4], strict=True):
        check(speech, meant)


async def test_a_tokenizer_that_takes_long_holds_up_nobody_who_speaks(
    engine: Engine,
    requests: list[SpeechRequest],
    expected: list[NDArray[np.float32]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, may_go_on = threading.Event(), threading.Event()
    tokenize = engine.embedder.tokenize

    def slow(text: str) -> list[int]:
        if text == requests[1].text:
            begun.set()
            may_go_on.wait()
        return tokenize(text)

    monkeypatch.setattr(engine.embedder, "tokenize", slow)
    async with serving(engine, rows=4) as scheduler, asyncio.timeout(60):
        with scheduler.submit(requests[0]) as chunks:
            pcm = (await anext(chunks)).pcm
            other = asyncio.ensure_future(spoken(scheduler, requests[1], caller="b"))
            await asyncio.to_thread(begun.wait)
            async for chunk in chunks:
                pcm += chunk.pcm
        check(np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32_767), expected[0])
        assert not other.done()
        may_go_on.set()
        check(await other, expected[1])


async def test_without_memory_requests_are_told_to_come_again_and_then_hear_all(
    engine: Engine,
    requests: list[SpeechRequest],
    expected: list[NDArray[np.float32]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run_out_of_memory(*_: Any) -> None:
        raise MemoryError("CUDA out of memory")

    async with serving(engine, rows=4) as scheduler:
        with monkeypatch.context() as broken:
            broken.setattr(engine.codec, "open", run_out_of_memory)
            lost = await asyncio.gather(
                *(spoken(scheduler, request) for request in requests[:4]), return_exceptions=True
            )
        heard = await asyncio.gather(*(spoken(scheduler, request) for request in requests[:4]))

    assert [type(error) for error in lost] == [BackendBusyError] * 4
    for speech, meant in zip(heard, expected[:4], strict=True):
        check(speech, meant)
