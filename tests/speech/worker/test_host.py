"""The process host with the local model on scripted engines; `local/` has the real engine."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from backend import contract
from backend.contract import (
    BackendUnavailableError,
    GenerationFailedError,
    ReferenceClip,
    ReferenceUnusableError,
    SpeechRequest,
    VoicePrompt,
    VoicePromptModelMismatchError,
)
from bot.speech.errors import SpeechInterruptedError
from bot.speech.worker.host import WorkerBackend
from tests.backend.scripted_engine import heard
from tests.speech.preview.voices import CONSENT
from tests.speech.worker import loaders
from tests.speech.worker.loaders import MODEL_ID, NO_WEIGHTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bot.speech.worker.process import LoadModel

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLIP = ReferenceClip(pcm=bytes(2 * 72_000), transcript="Hello there.")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def local() -> AsyncIterator[WorkerBackend]:
    backend = WorkerBackend(loaders.load)
    await backend.start()
    yield backend
    await backend.close()


def request_for(chunks: int, voice: int = 100, name: str = "") -> SpeechRequest:
    return SpeechRequest(f"{chunks} {name}".strip(), VoicePrompt(b"%d" % voice, MODEL_ID))


async def spoken(backend: WorkerBackend, request: SpeechRequest) -> list[int]:
    return heard([chunk async for chunk in backend.speak(request)])


def process_ids() -> set[int]:
    return {child.pid for child in multiprocessing.active_children() if child.pid is not None}


async def test_info_describes_what_was_loaded(local: WorkerBackend) -> None:
    info = local.info()
    assert info.model_id == MODEL_ID
    assert info.name.endswith(" on this machine")
    assert info.languages == ("Auto", "English")
    assert info.clones
    await local.health()


async def test_a_clip_becomes_a_prompt_and_a_prompt_speaks(local: WorkerBackend) -> None:
    voice = await local.prepare_voice(CLIP, CONSENT)

    assert voice.prompt == VoicePrompt(b"72000", MODEL_ID)
    assert await spoken(local, request_for(3, voice=7)) == [7] * 3


async def test_concurrent_callers_each_hear_their_own_voice(local: WorkerBackend) -> None:
    answers = await asyncio.gather(
        *(spoken(local, request_for(1 + voice % 5, voice)) for voice in range(1, 33))
    )

    assert answers == [[voice] * (1 + voice % 5) for voice in range(1, 33)]


async def test_chunks_arrive_while_more_are_generated(local: WorkerBackend) -> None:
    async with aclosing(local.speak(request_for(4000))) as chunks:
        began = time.monotonic()
        await anext(chunks)
    assert time.monotonic() - began < 3  # all of it takes 20 s
    assert await spoken(local, request_for(1)) == [100]
    await asyncio.sleep(0.1)
    await local.health()


async def test_a_prompt_of_another_model_is_refused(local: WorkerBackend) -> None:
    with pytest.raises(VoicePromptModelMismatchError) as refusal:
        await spoken(local, SpeechRequest("1", VoicePrompt(b"100", "another")))

    assert (refusal.value.made_for, refusal.value.needed) == ("another", MODEL_ID)


@pytest.mark.parametrize("clip", [ReferenceClip(bytes(9)), ReferenceClip(bytes(8), 16_000)])
async def test_a_clip_in_another_format_is_refused(
    local: WorkerBackend, clip: ReferenceClip
) -> None:
    with pytest.raises(ReferenceUnusableError):
        await local.prepare_voice(clip, CONSENT)


async def test_an_unexpected_error_fails_one_call(local: WorkerBackend) -> None:
    with pytest.raises(GenerationFailedError):
        await spoken(local, SpeechRequest("1", VoicePrompt(b"no number", MODEL_ID)))
    with pytest.raises(GenerationFailedError):
        await local.prepare_voice(CLIP, object())  # type: ignore[arg-type]

    assert await spoken(local, request_for(1)) == [100]


async def test_a_dead_process_fails_the_calls_under_way(local: WorkerBackend) -> None:
    others = asyncio.ensure_future(spoken(local, request_for(2000)))
    await asyncio.sleep(0.1)
    (worker,) = process_ids()
    os.kill(worker, signal.SIGKILL)

    with pytest.raises(SpeechInterruptedError):
        await others
    assert await spoken(local, request_for(2)) == [100] * 2
    assert process_ids() - {worker}


async def test_a_process_that_died_while_idle_is_replaced(local: WorkerBackend) -> None:
    (worker,) = process_ids()
    os.kill(worker, signal.SIGKILL)
    await asyncio.sleep(0.2)

    assert await spoken(local, request_for(2)) == [100] * 2


async def test_a_model_that_keeps_crashing_gets_a_new_process(local: WorkerBackend) -> None:
    (worker,) = process_ids()
    for _ in range(3):
        with pytest.raises(GenerationFailedError):
            await spoken(local, request_for(1, name="crash"))
    await asyncio.sleep(0.2)

    assert await spoken(local, request_for(1)) == [100]
    assert worker not in process_ids()


async def test_closing_fails_the_calls_under_way_and_leaves_nothing_behind() -> None:
    before = process_ids()
    backend = WorkerBackend(loaders.load)
    await backend.start()
    under_way = asyncio.ensure_future(spoken(backend, request_for(2000)))
    await asyncio.sleep(0.1)
    await backend.close()

    with pytest.raises(BackendUnavailableError):
        await under_way
    with pytest.raises(BackendUnavailableError):
        await spoken(backend, request_for(1))
    assert process_ids() == before


@pytest.mark.parametrize(
    ("load", "sentence"),
    [
        (loaders.load_without_weights, NO_WEIGHTS),
        (loaders.load_with_a_defect, "The model couldn't be loaded; the log says why."),
        (loaders.load_until_memory_runs_out, "where memory runs out"),
    ],
)
async def test_a_failed_start_is_explained_in_one_sentence(load: LoadModel, sentence: str) -> None:
    before = process_ids()
    with pytest.raises(BackendUnavailableError, match=sentence):
        await WorkerBackend(load).start()

    assert process_ids() == before


async def test_a_cancelled_start_leaves_nothing_behind() -> None:
    before = process_ids()
    starting = asyncio.ensure_future(WorkerBackend(loaders.load_for_ever).start())
    await asyncio.sleep(0.2)
    starting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await starting
    assert process_ids() == before


async def test_it_is_unavailable_before_the_start() -> None:
    backend = WorkerBackend(loaders.load)

    with pytest.raises(BackendUnavailableError):
        backend.info()
    with pytest.raises(BackendUnavailableError):
        await backend.health()
    await backend.close()


@pytest.mark.parametrize(
    "error",
    [
        contract.BackendBusyError(3.5),
        contract.LanguageNotSupportedError("Klingon", ("Auto", "English")),
        contract.VoicePromptModelMismatchError("a", "b"),
        contract.TextNotSpeakableError("nothing to say"),
    ],
)
async def test_errors_cross_between_the_processes_whole(error: contract.SpeechError) -> None:
    here, there = multiprocessing.Pipe()
    there.send(error)
    copy = here.recv()

    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)
