"""A row of the generation loop: its frames, its chunks, and what becomes of its samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from backend.contract import BackendBusyError, GenerationFailedError
from backend.engine.batch import Row
from backend.engine.failures import is_out_of_memory
from backend.engine.interface import SpeechChunk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from backend.contract import SpeechError
    from backend.engine.chunk_plan import ChunkPlan
    from backend.engine.codec import CodecRow
    from backend.engine.speech_length import EndDetector
    from backend.engine.transfers import HostSamples
    from backend.watermark.watermark import Watermarker

_SHORT_CHUNKS = 2
_FIRST_CHUNK_BONUS = 8  # frames that are added to the lateness of a row's first chunk
_SILENT_LEVEL = 10 ** (-60 / 20)  # of full scale
_NOTHING = np.zeros(0, np.float32)


class RowOutput:
    """Checks that the samples of one row are speech, and watermarks them.

    Args:
        watermark: Marks the samples. With None they stay unmarked, for measurements.
    """

    def __init__(self, watermark: Watermarker | None) -> None:
        self._marking = watermark and watermark.stream()
        self._lowest = np.inf
        self._highest = -np.inf

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next samples; return those that are ready. The watermark delays them a little.

        Raises `GenerationFailedError` if the samples are not finite.
        """
        if not np.isfinite(samples).all():
            raise GenerationFailedError("the model made samples that are not numbers")
        self._lowest = samples.min(initial=self._lowest)
        self._highest = samples.max(initial=self._highest)
        return self._marking.push(samples) if self._marking else samples

    def finish(self) -> NDArray[np.float32]:
        """Return the remaining samples.

        Raises `GenerationFailedError` if all samples were silent.
        """
        if self._highest - self._lowest < 2 * _SILENT_LEVEL:
            raise GenerationFailedError("the model made silence")
        return self._marking.finish() if self._marking else _NOTHING


@dataclass(eq=False, slots=True, kw_only=True)
class SpeechRow(Row):
    """A row of the batch, with the state of its output.

    Attributes:
        number: The number of its request, which its chunks carry.
        output: Checks and watermarks its samples.
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
    def is_over(self) -> bool:
        """Whether only its last chunk is missing."""
        is_complete = self.has_left and not self.in_flight
        return is_complete or self.ending.is_over or self.error is not None

    @property
    def is_urgent(self) -> bool:
        """Whether its listener has nothing buffered yet, or very little."""
        return self.chunks < _SHORT_CHUNKS

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

    def arrived(self, frames: int, samples: NDArray[np.float32]) -> Iterator[SpeechChunk]:
        """Yield the chunk for the samples of the next frames.

        Of speech that is over, the end of the silence is left out. Sets `error` and yields nothing
        if the samples are not valid.
        """
        self.in_flight -= 1
        if self.ending.is_over or self.error is not None:
            return
        try:
            yield self._chunk(self.output.push(self.ending.push(samples, frames)))
        except GenerationFailedError as error:
            self.error = error
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self.error = BackendBusyError()  # these samples are lost

    def last_chunk(self) -> SpeechChunk:
        """Return the last chunk of the row, with the rest of its speech or its error."""
        rest = _NOTHING
        try:
            if self.error is None:
                rest = self.output.finish()
        except GenerationFailedError as error:
            self.error = error
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
    """

    rows: list[SpeechRow]
    frames: int
    samples: HostSamples
    step: int
    is_urgent: bool
