"""An engine whose speed and accidents a test decides, in the shape of `backend.engine.Engine`.

It does without torch, so that tests that start processes stay fast.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import Counter
from copy import copy
from itertools import count
from typing import TYPE_CHECKING, cast

import numpy as np

from backend.contract import SpeechRequest, VoicePrompt
from backend.engine.interface import EngineInfo, ReadRequest, SpeechChunk
from backend.reference.transcript import LazyTranscriber
from backend.service import SpeechService
from backend.voice_prompt import ClonedVoice

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from backend.contract import ConsentRecord, PcmChunk, SpeechError
    from backend.scheduling.queue import SchedulerLimits
    from backend.watermark.watermark import Watermarker

CHUNK_SAMPLES = 240
CRASH_MESSAGE = "out of memory while saying something private"
MODEL_ID = "scripted/1"


class ScriptedEngine:
    """Speaks in constant levels: a prompt is the level, and a text begins with its chunks' number.

    Attributes:
        added: The texts that were to be spoken, in the order in which they were added.
        frames: The texts that had a chunk made in each frame.
        spoken: How many chunks were made for each text.
        threads: Every thread that has called.
        crash_at: The texts that crash the loop in their first frame, with what they raise.
        crash_at_add: The texts that crash as they are added, with what they raise.
        crash_at_open: What opening a loop raises, if anything.
        errors: The texts that the engine gives up in their first frame, with what it says.
        errors_at_add: The texts that the engine refuses, with what it says.
        errors_at_reading: The same, but when they are read.
        reading: The texts that take until an event to read.
        restarts: The texts that begin anew after one chunk.
        prompts: The transcripts of every voice prompt that was made.
        steps: How many voice prompts and frames were begun.
        seconds: What each voice prompt ("prompt") and frame ("frame") took, one after the other.
        loops: Those that somebody holds.
        misuses: What was done that the engine's contract forbids.
    """

    sample_rate = 24_000
    rows = 16

    def __init__(
        self, *, is_held: bool = False, step_seconds: float = 0.0, prompt_seconds: float = 0.0
    ) -> None:
        self.added: list[str] = []
        self.frames: list[list[str]] = []
        self.spoken: Counter[str] = Counter()
        self.threads: set[int] = set()
        self.crash_at: dict[str, BaseException] = {}
        self.crash_at_add: dict[str, BaseException] = {}
        self.crash_at_open: BaseException | None = None
        self.errors: dict[str, SpeechError] = {}
        self.errors_at_add: dict[str, SpeechError] = {}
        self.errors_at_reading: dict[str, SpeechError] = {}
        self.reading: dict[str, threading.Event] = {}
        self.restarts: set[str] = set()
        self.prompts: list[str | None] = []
        self.steps = 0
        self.seconds: list[tuple[str, float]] = []
        self.loops: weakref.WeakSet[ScriptedLoop] = weakref.WeakSet()
        self.misuses: list[str] = []
        self._is_held = is_held
        self._step_seconds = step_seconds
        self._prompt_seconds = prompt_seconds
        self._allowed = threading.Semaphore(0)

    def allow(self, steps: int) -> None:
        """Let a held engine take so many steps; each is a frame or a voice prompt."""
        self._allowed.release(steps)

    def release(self) -> None:
        """Hold no longer."""
        self._is_held = False
        self._allowed.release()

    def open(self, rows: int) -> ScriptedLoop:
        self.called()
        if self.loops:
            self.misuses.append("two loops at a time take twice the memory")
        if self.crash_at_open is not None:
            raise _fresh(self.crash_at_open)
        loop = ScriptedLoop(self, rows)
        self.loops.add(loop)
        return loop

    def make_prompt(
        self,
        samples: NDArray[np.float32],
        transcript: str | None,
        consent: ConsentRecord | None,
    ) -> VoicePrompt:
        del consent
        self.take_step("prompt", self._prompt_seconds)
        if transcript in self.crash_at:
            raise _fresh(self.crash_at[transcript])
        if transcript in self.errors:
            raise self.errors[transcript]
        self.prompts.append(transcript)
        return VoicePrompt(b"%d" % len(samples), MODEL_ID)

    def read(self, request: SpeechRequest) -> ReadRequest:
        if threading.get_ident() in self.threads:
            self.misuses.append("a request was read in the thread that speaks")
        if request.text in self.reading:
            self.reading[request.text].wait()
        if request.text in self.errors_at_reading:
            raise self.errors_at_reading[request.text]
        return ReadRequest(request, ClonedVoice(np.zeros(1, np.float32)))

    def info(self) -> EngineInfo:
        return EngineInfo(
            MODEL_ID,
            revision=None,
            device="cpu",
            device_name="CPU",
            weights="float32",
            weights_reason="it is scripted",
            dtype="float32",
            codec_dtype="float32",
            loop="timbre",
            attention="sdpa",
            codec_attention="sdpa",
            memory_bytes=0,
            load_seconds=0.0,
            languages=("Auto", "English"),
            versions={},
        )

    def called(self) -> None:
        """Note who calls."""
        self.threads.add(threading.get_ident())
        if len(self.threads) > 1:
            self.misuses.append("several threads")

    def take_step(self, kind: str, seconds: float | None = None) -> None:
        """Take as long as the model would, or as long as the test says."""
        self.called()
        self.steps += 1
        began = time.monotonic()
        time.sleep(self._step_seconds if seconds is None else seconds)
        if self._is_held:
            self._allowed.acquire()
        self.seconds.append((kind, time.monotonic() - began))

    def chunk(self, number: int, request: SpeechRequest, *, is_last: bool) -> SpeechChunk:
        """Make the next chunk of a row."""
        text = request.text
        if text in self.crash_at:
            raise _fresh(self.crash_at[text])
        if text in self.errors:
            nothing = np.zeros(0, np.float32)
            return SpeechChunk(number, nothing, is_last=True, error=self.errors[text])
        self.spoken[text] += 1
        samples = np.full(CHUNK_SAMPLES, int(request.prompt.data) / 32_767, np.float32)
        restarts = text in self.restarts and self.spoken[text] == 2
        return SpeechChunk(number, samples, is_last, restarts=restarts)


class ScriptedLoop:
    """Like `backend.engine.generation.GenerationLoop`, but every frame makes a chunk of every row.

    Args:
        engine: Whose script it follows.
        capacity: The most rows there may be.
    """

    def __init__(self, engine: ScriptedEngine, capacity: int) -> None:
        self.capacity = capacity
        self._engine = engine
        self._requests: dict[int, SpeechRequest] = {}
        self._chunks_left: dict[int, int] = {}
        self._numbers = count()
        self._is_stepping = False

    @property
    def rows(self) -> int:
        return len(self._requests)

    def add(self, read: ReadRequest) -> int:
        self._called()
        request = read.request
        if self.rows >= self.capacity:
            self._engine.misuses.append("more rows than there is room for")
        self._engine.added.append(request.text)
        if request.text in self._engine.errors_at_add:
            raise self._engine.errors_at_add[request.text]
        if request.text in self._engine.crash_at_add:
            raise _fresh(self._engine.crash_at_add[request.text])
        number = next(self._numbers)
        self._requests[number] = request
        self._chunks_left[number] = int(request.text.split()[0])
        return number

    def remove(self, number: int) -> None:
        self._called()
        self._requests.pop(number, None)

    def step(self) -> Iterator[SpeechChunk]:
        self._called()
        self._is_stepping = True  # for ever, if it crashes
        if self._requests:
            self._engine.frames.append([request.text for request in self._requests.values()])
            self._engine.take_step("frame")
        for number, request in list(self._requests.items()):
            self._chunks_left[number] -= 1
            chunk = self._engine.chunk(number, request, is_last=self._chunks_left[number] == 0)
            if chunk.is_last:
                del self._requests[number]
            yield chunk
        self._is_stepping = False

    def _called(self) -> None:
        self._engine.called()
        if self._is_stepping:
            self._engine.misuses.append("a step was not read to its end, or a lost loop used again")


def _fresh(error: BaseException) -> BaseException:
    """Copy an error: once raised, it keeps its loop alive through its traceback."""
    return copy(error)


def request(chunks: int, voice: int = 100, name: str = "", caller: str = "a") -> SpeechRequest:
    """A sentence that makes so many chunks of the level `voice`."""
    prompt = VoicePrompt(b"%d" % voice, MODEL_ID)
    return SpeechRequest(f"{chunks} {name}".strip(), prompt, caller=caller)


def heard(chunks: Sequence[PcmChunk]) -> list[int]:
    """What was said: the level of each chunk, or -1 where a chunk is not of one level."""
    levels = []
    for chunk in chunks:
        samples = np.frombuffer(chunk.pcm, "<i2")
        is_whole = len(samples) == CHUNK_SAMPLES and (samples == samples[0]).all()
        levels.append(int(samples[0]) if is_whole else -1)
    return levels


def scripted_service(
    engine: ScriptedEngine,
    on_breakdown: Callable[[], Awaitable[None]],
    *,
    speech_seconds: float | None = None,
    limits: SchedulerLimits | None = None,
) -> SpeechService:
    """A service that speaks with a scripted engine, and has no transcriber."""

    async def fetch(_address: str) -> bytes:
        raise AssertionError

    return SpeechService(
        engine,
        watermarker=cast("Watermarker", None),
        transcriber=LazyTranscriber(None),
        fetch=fetch,
        label="Scripted engine",
        require_consent=False,
        on_breakdown=on_breakdown,
        speech_seconds=speech_seconds,
        limits=limits,
    )
