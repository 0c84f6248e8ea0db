"""An engine whose speed and accidents a test decides, in the shape of `backend.engine.Engine`.

It does without torch, so that tests that start processes stay fast.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from backend.contract import ConsentRecord, PcmChunk, SpeechError
    from backend.engine import SpeechJob

CHUNK_SAMPLES = 240
CRASH_MESSAGE = "out of memory while saying something private"


@dataclass(frozen=True, slots=True)
class ScriptedJob:
    """Like `backend.engine.SpeechJob`."""

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
        batches: The texts of every batch, in the order in which they began.
        spoken: How many chunks were made for each text.
        threads: Every thread that has called.
        crash_at: The texts that crash their batch, with what they raise.
        errors: The texts that the engine gives up, with what it says.
        restarts: The texts that begin anew after one chunk.
        prompts: The transcripts of every voice prompt that was made.
    """

    sample_rate = 24_000

    def __init__(self, *, is_held: bool = False, step_seconds: float = 0.0) -> None:
        self.batches: list[list[str]] = []
        self.spoken: Counter[str] = Counter()
        self.threads: set[int] = set()
        self.crash_at: dict[str, BaseException] = {}
        self.errors: dict[str, SpeechError] = {}
        self.restarts: set[str] = set()
        self.prompts: list[str | None] = []
        self._is_held = is_held
        self._step_seconds = step_seconds
        self._allowed = threading.Semaphore(0)

    def allow(self, steps: int) -> None:
        """Let a held engine take so many steps; each makes a chunk for every row of a batch."""
        self._allowed.release(steps)

    def release(self) -> None:
        """Hold no longer."""
        self._is_held = False
        self._allowed.release()

    def make_prompt(
        self,
        samples: NDArray[np.float32],
        transcript: str | None,
        consent: ConsentRecord | None,
    ) -> bytes:
        del consent
        self._step()
        if transcript in self.crash_at:
            raise self.crash_at[transcript]
        if transcript in self.errors:
            raise self.errors[transcript]
        self.prompts.append(transcript)
        return b"%d" % len(samples)

    def stream(
        self, jobs: Sequence[ScriptedJob], *, is_cancelled: Callable[[int], bool]
    ) -> Iterator[ScriptedChunk]:
        self.batches.append([job.text for job in jobs])
        left = {row: int(job.text.split()[0]) for row, job in enumerate(jobs)}
        while left:
            self._step()
            for row in list(left):
                if is_cancelled(row):
                    del left[row]
                    continue
                yield self._chunk(row, jobs[row], is_last=left[row] == 1)
                left[row] -= 1
                if not left[row] or jobs[row].text in self.errors:
                    del left[row]

    def _chunk(self, row: int, job: ScriptedJob, *, is_last: bool) -> ScriptedChunk:
        if job.text in self.crash_at:
            raise self.crash_at[job.text]
        if job.text in self.errors:
            nothing = np.zeros(0, np.float32)
            return ScriptedChunk(row, nothing, is_last=True, error=self.errors[job.text])
        self.spoken[job.text] += 1
        samples = np.full(CHUNK_SAMPLES, int(job.prompt) / 32_767, np.float32)
        restarts = job.text in self.restarts and self.spoken[job.text] == 2
        return ScriptedChunk(row, samples, is_last, restarts=restarts)

    def _step(self) -> None:
        self.threads.add(threading.get_ident())
        time.sleep(self._step_seconds)
        if self._is_held:
            self._allowed.acquire()


def job(chunks: int, voice: int = 100, name: str = "") -> SpeechJob:
    """A sentence that makes so many chunks of the level `voice`."""
    scripted = ScriptedJob(text=f"{chunks} {name}".strip(), prompt=b"%d" % voice)
    return cast("SpeechJob", scripted)


def heard(chunks: Sequence[PcmChunk]) -> list[int]:
    """What was said: the level of each chunk, or -1 where a chunk is not of one level."""
    levels = []
    for chunk in chunks:
        samples = np.frombuffer(chunk.pcm, "<i2")
        is_whole = len(samples) == CHUNK_SAMPLES and (samples == samples[0]).all()
        levels.append(int(samples[0]) if is_whole else -1)
    return levels
