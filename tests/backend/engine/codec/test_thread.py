"""The codec in a thread beside the language model, as on a processor with a core to spare."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event, get_ident
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from backend.contract import BackendBusyError, GenerationFailedError
from backend.engine.batch import Batch
from backend.engine.chunk_plan import CPU_PLAN
from backend.engine.codec.decoder import CodecDecoder
from backend.engine.codec.thread import CodecThread, threads_to_spare
from backend.engine.generation import GenerationLoop
from backend.engine.speech_row import SpeechRow
from tests.backend.conftest import spoken
from tests.backend.engine.speaking import sentences, speak

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.contract import ConsentRecord, SpeechRequest
    from backend.engine.engine import Engine

ROWS = 4
TOLERANCE = 1e-3  # of full scale: float32 through the codec, in batches of different sizes
PLAN = replace(CPU_PLAN, first_chunks=(2, 2), later_chunks=3, call_frames=6)
LONG = 30  # seconds: longer than anything here takes


class Beside:
    """An engine whose codec has a thread of its own. Its first chunks are soon over."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._thread = CodecThread(1)

    def open(self, rows: int) -> GenerationLoop:
        engine = self._engine
        assert engine.step is not None
        batch = Batch[SpeechRow](engine.step, rows=rows)
        return GenerationLoop(engine.prepare, batch, engine.codec, None, PLAN, beside=self._thread)


class Held:
    """Holds up what the thread decodes, until it is let go.

    Attributes:
        begun: Whether something is held.
        rows: The rows of each piece that was decoded.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = Event()
        self.rows: list[int] = []
        self._go_on = Event()
        decode = CodecDecoder.decode_patiently

        def held(codec: CodecDecoder, rows: Any, codes: torch.Tensor) -> torch.Tensor:
            self.begun.set()
            assert self._go_on.wait(LONG)
            self.rows.append(len(rows))
            return decode(codec, rows, codes)

        monkeypatch.setattr(CodecDecoder, "decode_patiently", held)

    def let_go(self) -> None:
        self._go_on.set()


@pytest.fixture(scope="module")
def requests(engine: Engine, consent: ConsentRecord) -> list[SpeechRequest]:
    return sentences(engine, consent, ROWS, first_seed=26)


@pytest.fixture(scope="module")
def expected(engine: Engine, requests: list[SpeechRequest]) -> list[Any]:
    return [spoken(each) for each in speak(engine, requests)]


@pytest.fixture
def beside(engine: Engine) -> Beside:
    return Beside(engine)


def heard(loop: GenerationLoop) -> Iterator[Any]:
    while loop.rows:
        yield from loop.step()


def said(chunks: list[Any], number: int) -> Any:
    return np.concatenate([each.samples for each in chunks if each.row == number])


@pytest.mark.parametrize("rows", [1, ROWS])
def test_everybody_hears_the_same_and_chunks_were_made_beside(
    beside: Beside,
    requests: list[SpeechRequest],
    expected: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    rows: int,
) -> None:
    held = Held(monkeypatch)
    held.let_go()
    for ours, alone in zip(speak(beside, requests[:rows]), expected, strict=False):
        np.testing.assert_allclose(spoken(ours), alone, atol=TOLERANCE)
    assert held.rows


def test_frames_are_generated_while_the_codec_decodes(
    beside: Beside,
    requests: list[SpeechRequest],
    expected: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = Held(monkeypatch)
    loop = beside.open(2)
    numbers = [loop.add(request) for request in requests[:2]]
    chunks: list[Any] = []
    while not held.begun.is_set():
        chunks += loop.step()
    for _ in range(2):  # nobody waits for what is held, nor for its row's next chunk
        chunks += loop.step()
    held.let_go()
    chunks += heard(loop)
    for number, alone in zip(numbers, expected, strict=False):
        np.testing.assert_allclose(said(chunks, number), alone, atol=TOLERANCE)


def test_a_newcomer_begins_while_the_codec_decodes(
    beside: Beside,
    requests: list[SpeechRequest],
    expected: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = Held(monkeypatch)
    loop = beside.open(2)
    loop.add(requests[0])
    while not held.begun.is_set():
        list(loop.step())
    loop.remove(0)  # and what is held is of no use any more
    newcomer = loop.add(requests[1])
    chunks: list[Any] = []
    while not chunks:
        chunks += loop.step()
    assert {each.row for each in chunks} == {newcomer}
    held.let_go()
    chunks += heard(loop)
    np.testing.assert_allclose(said(chunks, newcomer), expected[1], atol=TOLERANCE)


def test_a_slot_is_not_spoilt_by_what_is_decoded_for_the_row_before(
    beside: Beside,
    requests: list[SpeechRequest],
    expected: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(3):
        held = Held(monkeypatch)
        loop = beside.open(1)
        number = loop.add(requests[0])
        while not held.begun.is_set():
            list(loop.step())
        loop.remove(number)
        held.let_go()
        again = loop.add(requests[2])
        np.testing.assert_allclose(said([*heard(loop)], again), expected[2], atol=TOLERANCE)
        monkeypatch.undo()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), BackendBusyError),
        (RuntimeError("something else"), GenerationFailedError),
    ],
)
def test_a_call_that_fails_ends_its_own_rows(
    beside: Beside,
    requests: list[SpeechRequest],
    expected: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    told: type[Exception],
) -> None:
    decode = CodecDecoder.decode_patiently
    failed: list[Any] = []

    def failing(codec: CodecDecoder, rows: Any, codes: torch.Tensor) -> torch.Tensor:
        if not failed:
            failed.extend(rows)
            raise error
        return decode(codec, rows, codes)

    monkeypatch.setattr(CodecDecoder, "decode_patiently", failing)
    results = speak(beside, requests)
    lost = [row for row, each in enumerate(results) if isinstance(each, told)]
    assert len(lost) == len(failed)
    assert 0 < len(lost) < ROWS
    for row in {*range(ROWS)} - {*lost}:
        np.testing.assert_allclose(spoken(results[row]), expected[row], atol=TOLERANCE)


def test_the_others_keep_their_threads() -> None:
    before = torch.get_num_threads()
    thread = CodecThread(1)
    seen: list[tuple[int, int]] = []

    def look(piece: torch.Tensor) -> torch.Tensor:
        seen.append((get_ident(), torch.get_num_threads()))
        return piece.float().flatten(1)

    samples = thread.begin(look, torch.zeros(1, 12, 4, dtype=torch.long))
    samples.wait()
    assert samples.read().shape == (1, 48)
    assert {each for _, each in seen} == {1}
    assert get_ident() not in {each for each, _ in seen}
    assert torch.get_num_threads() == before
    with ThreadPoolExecutor(1) as later:
        assert later.submit(torch.get_num_threads).result() == before


def test_the_thread_ends_with_what_owns_it() -> None:
    thread = CodecThread(1)
    seen: list[threading.Thread] = []

    def look(piece: torch.Tensor) -> torch.Tensor:
        seen.append(threading.current_thread())
        return piece

    thread.begin(look, torch.zeros(1, 1, 4)).wait()
    assert seen[0].daemon, "a call that never ends doesn't keep the process alive"
    del thread
    seen[0].join(LONG)
    assert not seen[0].is_alive()


@pytest.mark.parametrize(
    ("cores", "threads", "spare"),
    [(1, 1, 0), (2, 2, 0), (3, 3, 1), (4, 4, 1), (4, 1, 0), (8, 8, 2), (8, 4, 2), (16, 16, 4)],
)
def test_two_cores_have_none_to_spare(cores: int, threads: int, spare: int) -> None:
    assert threads_to_spare(cores, threads) == spare
