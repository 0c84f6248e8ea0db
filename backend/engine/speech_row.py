"""A row of the generation loop: its frames, its chunks, and what becomes of its samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backend.contract import SpeechError
from backend.engine.batch import Row
from backend.engine.interface import SpeechChunk
from backend.engine.row_output import NOTHING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from backend.engine.chunk_plan import ChunkPlan
    from backend.engine.codec.decoder import CodecRow
    from backend.engine.codec.thread import ThreadSamples
    from backend.engine.row_output import RowOutput
    from backend.engine.speech_length import EndDetector
    from backend.engine.transfers import HostSamples

_SHORT_CHUNKS = 2
_FIRST_CHUNK_BONUS = 8  # frames that are added to the lateness of a row's first chunk


@dataclass(eq=False, slots=True, kw_only=True)
class SpeechRow(Row):
    """A row of the batch, with the state of its output.

    Attributes:
        number: The number of its request, which its chunks carry.
        output: What is known of its samples, to check and watermark them.
        ending: Tells whether its text was said, and only near-silence follows.
        plan: How many frames its chunks have.
        codec: Its slot in the codec, from its first frame on.
        frames: Generated frames that the codec was not given yet.
        generated: How many frames were generated.
        chunks: How many chunks the codec was given.
        in_flight: How many of them have not arrived yet.
        has_left: Whether it has left the batch, because its last frame was generated.
        restarts: Whether its next chunk is the first of another attempt.
        error: The error that ends it, if there is one.
    """

    number: int
    output: RowOutput
    ending: EndDetector
    plan: ChunkPlan
    codec: CodecRow | None = None
    frames: list[Tensor] = field(default_factory=list)
    generated: int = 0
    chunks: int = 0
    in_flight: int = 0
    has_left: bool = False
    restarts: bool = False
    error: SpeechError | None = None

    @property
    def is_heard(self) -> bool:
        """Whether it has sounded, so that its listener waits for what follows."""
        return self.chunks > self.in_flight

    @property
    def is_over(self) -> bool:
        """Whether only its last chunk is missing."""
        is_complete = self.has_left and not self.in_flight
        return is_complete or self.ending.is_over or self.error is not None

    @property
    def is_urgent(self) -> bool:
        """Whether its listener has nothing buffered yet, or very little."""
        return self.chunks < _SHORT_CHUNKS

    @property
    def can_be_patient(self) -> bool:
        """Whether its first chunks, which are short, are over."""
        return self.chunks >= len(self.plan.first_chunks)

    def next_chunk_frames(self) -> int:
        """Return how many frames the next chunk should have."""
        return self.plan.chunk_frames(self.chunks)

    def next_chunk_kind(self) -> tuple[int, bool]:
        """Return what the next chunks of rows that are decoded together have in common."""
        return self.next_chunk_frames(), self.is_urgent

    def is_due(self, *, is_patient: bool) -> bool:
        """Return whether the next chunk should be decoded now.

        Args:
            is_patient: Whether to wait for a few more frames if the listener has enough buffered.
        """
        spare = self.plan.spare_frames if is_patient and not self.is_urgent else 0
        return len(self.frames) >= self.next_chunk_frames() + spare

    def lateness(self) -> int:
        """Return by how many frames the next chunk is overdue, with a bonus for a first chunk.

        The bonus is limited. Otherwise new requests could delay the chunks of older rows forever.
        """
        bonus = 0 if self.chunks else _FIRST_CHUNK_BONUS
        return len(self.frames) - self.next_chunk_frames() + bonus

    def launched(self, frames: int) -> None:
        """Note that the codec was given the first frames."""
        del self.frames[:frames]
        self.chunks += 1
        self.in_flight += 1

    def arrived(self, frames: int, samples: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Take the samples of the next frames; return those of them to keep.

        Of speech that is over, the end of the silence is left out. Returns None if the row was over
        before.
        """
        self.in_flight -= 1
        if self.ending.is_over or self.error is not None:
            return None
        return self.ending.push(samples, frames)

    def marked(self, samples: NDArray[np.float32] | SpeechError) -> Iterator[SpeechChunk]:
        """Yield the chunk for its next samples, or set `error` and yield nothing.

        Args:
            samples: What `SpeechOutput.push` has returned for it.
        """
        if isinstance(samples, SpeechError):
            self.error = samples
        else:
            yield self._chunk(samples)

    def last_chunk(self, rest: NDArray[np.float32] | SpeechError = NOTHING) -> SpeechChunk:
        """Return the last chunk of the row, with the rest of its speech or its error.

        Args:
            rest: What `SpeechOutput.finish` has returned for it, if it had no error before.
        """
        if isinstance(rest, SpeechError):
            self.error, rest = rest, NOTHING
        return self._chunk(rest, is_last=True)

    def _chunk(self, samples: NDArray[np.float32], *, is_last: bool = False) -> SpeechChunk:
        restarts, self.restarts = self.restarts, False
        return SpeechChunk(self.number, samples, is_last, self.error, restarts)


@dataclass(frozen=True, slots=True)
class CodecCall:
    """A call of the codec whose samples are on their way to the program.

    Attributes:
        rows: The rows, in order. All of them are urgent, or none.
        frames: How many frames of each.
        samples: Their samples.
        step: The number of the step that has launched it.
        is_urgent: Whether a listener has nothing buffered yet, or very little.
        is_beside: Whether another thread decodes it, which nobody waits for.
    """

    rows: list[SpeechRow]
    frames: int
    samples: HostSamples | ThreadSamples
    step: int
    is_urgent: bool
    is_beside: bool = False
