"""An engine whose speed and accidents a test decides, in the shape of `backend.engine.Engine`.

It does without torch, so that tests that start processes stay fast.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import Counter
from copy import copy
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from backend.contract import ConsentRecord, PcmChunk, SpeechError, SpeechRequest

CHUNK_SAMPLES = 240
CRASH_MESSAGE = "out of memory while saying something private"


@dataclass(frozen=True, slots=True)
class ScriptedJob:
    """Like `backend.engine.SpeechRequest`."""

    text: str
    prompt: bytes
    language: str = "Auto"
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class ScriptedChunk:
    """Like `backend.engine.SpeechChunk`."""

    row: int
    samples: NDArray[np.float32]
    is_last: bool
    error: SpeechError | None = None
    restarts: bool = False


class ScriptedEngine:
    """Speaks in constant levels: a prompt is the level, and a text begins with its chunks' number.

    Attributes:
        joined: The texts that were to be spoken, in the order in which they joined.
        frames: The texts that had a chunk made in each frame.
        spoken: How many chunks were made for each text.
        threads: Every thread that has called.
        crash_at: The texts that crash the loop in their first frame, with what they raise.
        crash_at_join: The texts that crash as they join, with what they raise.
        crash_at_open: What opening a loop raises, if anything.
        errors: The texts that the engine gives up in their first frame, with what it says.
        errors_at_join: The texts that the engine refuses, with what it says.
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
        self.joined: list[str] = []
        self.frames: list[list[str]] = []
        self.spoken: Counter[str] = Counter()
        self.threads: set[int] = set()
        self.crash_at: dict[str, BaseException] = {}
        self.crash_at_join: dict[str, BaseException] = {}
        self.crash_at_open: BaseException | None = None
        self.errors: dict[str, SpeechError] = {}
        self.errors_at_join: dict[str, SpeechError] = {}
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
    ) -> bytes:
        del consent
        self.take_step("prompt", self._prompt_seconds)
        if transcript in self.crash_at:
            raise _fresh(self.crash_at[transcript])
        if transcript in self.errors:
            raise self.errors[transcript]
        self.prompts.append(transcript)
        return b"%d" % len(samples)

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

    def chunk(self, number: int, job: ScriptedJob, *, is_last: bool) -> ScriptedChunk:
        """Make the next chunk of a row."""
        if job.text in self.crash_at:
            raise _fresh(self.crash_at[job.text])
        if job.text in self.errors:
            nothing = np.zeros(0, np.float32)
            return ScriptedChunk(number, nothing, is_last=True, error=self.errors[job.text])
        self.spoken[job.text] += 1
        samples = np.full(CHUNK_SAMPLES, int(job.prompt) / 32_767, np.float32)
        restarts = job.text in self.restarts and self.spoken[job.text] == 2
        return ScriptedChunk(number, samples, is_last, restarts=restarts)


class ScriptedLoop:
    """Like `backend.engine.FrameLoop`, but every frame makes a chunk of every row.

    Args:
        engine: Whose script it follows.
        capacity: The most rows there may be.
    """

    def __init__(self, engine: ScriptedEngine, capacity: int) -> None:
        self.capacity = capacity
        self._engine = engine
        self._jobs: dict[int, ScriptedJob] = {}
        self._chunks_left: dict[int, int] = {}
        self._numbers = count()
        self._is_stepping = False

    @property
    def rows(self) -> int:
        return len(self._jobs)

    def join(self, job: ScriptedJob) -> int:
        self._called()
        if self.rows >= self.capacity:
            self._engine.misuses.append("more rows than there is room for")
        self._engine.joined.append(job.text)
        if job.text in self._engine.errors_at_join:
            raise self._engine.errors_at_join[job.text]
        if job.text in self._engine.crash_at_join:
            raise _fresh(self._engine.crash_at_join[job.text])
        number = next(self._numbers)
        self._jobs[number] = job
        self._chunks_left[number] = int(job.text.split()[0])
        return number

    def leave(self, number: int) -> None:
        self._called()
        self._jobs.pop(number, None)

    def step(self) -> Iterator[ScriptedChunk]:
        self._called()
        self._is_stepping = True  # for ever, if it crashes
        if self._jobs:
            self._engine.frames.append([job.text for job in self._jobs.values()])
            self._engine.take_step("frame")
        for number, job in list(self._jobs.items()):
            self._chunks_left[number] -= 1
            chunk = self._engine.chunk(number, job, is_last=self._chunks_left[number] == 0)
            if chunk.is_last:
                del self._jobs[number]
            yield chunk
        self._is_stepping = False

    def _called(self) -> None:
        self._engine.called()
        if self._is_stepping:
            self._engine.misuses.append("a step was not read to its end, or a lost loop used again")


def _fresh(error: BaseException) -> BaseException:
    """Copy an error: once raised, it keeps its loop alive through its traceback."""
    return copy(error)


def job(chunks: int, voice: int = 100, name: str = "") -> SpeechRequest:
    """A sentence that makes so many chunks of the level `voice`."""
    scripted = ScriptedJob(text=f"{chunks} {name}".strip(), prompt=b"%d" % voice)
    return cast("SpeechRequest", scripted)


def heard(chunks: Sequence[PcmChunk]) -> list[int]:
    """What was said: the level of each chunk, or -1 where a chunk is not of one level."""
    levels = []
    for chunk in chunks:
        samples = np.frombuffer(chunk.pcm, "<i2")
        is_whole = len(samples) == CHUNK_SAMPLES and (samples == samples[0]).all()
        levels.append(int(samples[0]) if is_whole else -1)
    return levels
