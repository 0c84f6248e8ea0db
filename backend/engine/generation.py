"""The generation loop: it decodes rows together, one codec frame at a time, and yields chunks.

Requests are added and removed between frames.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import torch

from backend.contract import (
    BackendBusyError,
    GenerationFailedError,
    SpeechError,
    SpeechRunsOnError,
)
from backend.engine.batch import Row
from backend.engine.chunk_plan import CPU_PLAN, MOST_FRAMES
from backend.engine.failures import is_out_of_memory
from backend.engine.interface import SpeechChunk
from backend.engine.sampling import FAILED
from backend.engine.speech_length import EndDetector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from backend.contract import SpeechRequest
    from backend.engine.batch import Batch
    from backend.engine.chunk_plan import ChunkPlan
    from backend.engine.codec import CodecDecoder, CodecRow
    from backend.engine.prompt_embeds import PreparedRequest
    from backend.engine.transfers import HostSamples
    from backend.watermark.watermark import Watermarker

log = logging.getLogger(__name__)

_ATTEMPTS = 2
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

    def next_chunk_frames(self) -> int:
        """Return how many frames the next chunk should have."""
        return self.plan.chunk_frames(self.chunks)

    def is_due(self, *, is_patient: bool) -> bool:
        """Return whether the next chunk should be decoded now.

        Args:
            is_patient: Whether to wait for a few more frames if the listener has enough buffered.
        """
        spare = self.plan.spare_frames if is_patient and self.chunks >= _SHORT_CHUNKS else 0
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
        rows: The rows, in order.
        frames: How many frames of each.
        samples: Their samples.
        step: The number of the step that has launched it.
        is_urgent: Whether somebody waits for the first sound.
    """

    rows: list[SpeechRow]
    frames: int
    samples: HostSamples
    step: int
    is_urgent: bool


class GenerationLoop:
    """Generates the speech of the requests that are added to it. Not thread-safe.

    If `step` raises, all rows are lost, and the loop must not be used again.

    Args:
        prepare: Validates a request and builds its prompt embeddings, or raises `SpeechError`.
        batch: An empty batch, which generates the frames.
        codec: Decodes frames into samples.
        watermark: Marks the speech; with None it stays unmarked.
        plan: How many frames are decoded to samples at a time.
    """

    def __init__(
        self,
        prepare: Callable[[SpeechRequest], PreparedRequest],
        batch: Batch[SpeechRow],
        codec: CodecDecoder,
        watermark: Watermarker | None,
        plan: ChunkPlan = CPU_PLAN,
    ) -> None:
        self._prepare = prepare
        self._batch = batch
        self._codec = codec
        self._watermark = watermark
        self._plan = plan
        self._numbers = count()
        self._rows: dict[int, SpeechRow] = {}
        self._calls: deque[CodecCall] = deque()  # in the order in which they arrive
        self._step_number = 0
        codec.clear()

    @property
    def rows(self) -> int:
        """How many requests were added and have not ended yet."""
        return len(self._rows)

    def add(self, request: SpeechRequest) -> int:
        """Add a request. Its prefill begins with the next `step`.

        Returns:
            Its number, which its chunks carry.

        Raises `SpeechError` if the request cannot be spoken, and ValueError if the batch is full or
        a number in the request is out of range.
        """
        if self.rows >= self._batch.capacity:
            raise ValueError(f"all {self.rows} rows are in use")
        prepared = self._prepare(request)
        number = next(self._numbers)
        self._start(number, prepared, attempt=0)
        return number

    def remove(self, number: int) -> None:
        """Remove a request, if it has not ended. No further chunk of it is yielded."""
        row = self._rows.pop(number, None)
        if row is None:
            return
        if not row.has_left:
            self._batch.remove(row)
        if row.codec is not None:
            self._codec.close(row.codec)

    def step(self) -> Iterator[SpeechChunk]:
        """Generate the next frame of every row; yield the chunks that became ready, often none.

        The last chunk of every request has `is_last` set. An error ends only its own request. A
        request whose text was said, and which only adds silence, ends without the model's word. If
        a request reaches its token limit, it is generated a second time, and the first chunk of
        that attempt has `restarts` set. If it reaches the limit again, it fails with
        `SpeechRunsOnError`. Exhaust the iterator before calling any other method.

        If memory runs out, the newer half of the requests ends with `BackendBusyError`, and the
        others go on with the next step. Raises whatever else the model raises, and what a single
        request raises that finds no memory.
        """
        try:
            yield from self._step()
        except Exception as error:
            newest = sorted(self._rows)[math.ceil(self.rows / 2) :]
            if not newest or not is_out_of_memory(error):
                raise
            # What the step has made is freed at the end of this block.
        else:
            return
        torch.cuda.empty_cache()
        log.warning("memory has run out: %d of %d sentences end", len(newest), self.rows)
        for number in newest:
            row = self._rows[number]
            self.remove(number)
            row.error = BackendBusyError()
            yield row.last_chunk()

    def _step(self) -> Iterator[SpeechChunk]:
        """Take a step, each part of which can be repeated if it finds no memory."""
        self._step_number += 1
        ended, ran_on = [], []
        codes = self._batch.next_codes()
        # On a GPU, the next step has been launched: while it runs, there is time to wait.
        yield from self._take_samples(is_idle=not codes)
        for row, code in codes:
            if code == FAILED:
                row.error = row.error or _codes_failed()
            elif code == self._batch.end_of_speech:
                ended.append(row)
            elif row.generated + 1 >= row.request.max_tokens:
                ran_on.append(row)
        for row in ended:
            self._end(row)
        yield from self._end_rows()
        for row in ran_on:
            if not row.is_over:
                yield from self._retry(row)
        for row, frame in self._batch.decode_step():
            row.frames.append(frame)
            row.generated += 1
        self._decode(self._due_rows())
        self._open_slots()
        if not self._batch.is_ahead:
            yield from self._take_samples(is_idle=True)
        yield from self._end_rows()

    def _start(self, number: int, request: PreparedRequest, attempt: int) -> None:
        row = SpeechRow(
            request,
            attempt,
            number=number,
            output=RowOutput(self._watermark),
            ending=EndDetector(request.text_tokens),
            plan=self._plan,
            restarts=attempt > 0,
        )
        self._batch.add(row)
        self._rows[number] = row

    def _retry(self, row: SpeechRow) -> Iterator[SpeechChunk]:
        """Start another attempt for a row that reached its token limit, or fail it."""
        self.remove(row.number)
        if row.attempt + 1 < _ATTEMPTS:
            self._start(row.number, row.request, row.attempt + 1)
            return
        row.error = SpeechRunsOnError(row.request.max_tokens / self._codec.frames_per_second)
        yield row.last_chunk()

    def _end(self, row: SpeechRow) -> None:
        """Let the codec have the rest of a row, whose last frame was generated."""
        while row.frames and row.error is None:
            self._decode([row])
        self._batch.remove(row)
        row.has_left = True

    def _end_rows(self) -> Iterator[SpeechChunk]:
        """Yield the last chunks of the rows that are over."""
        for row in [each for each in self._rows.values() if each.is_over]:
            self.remove(row.number)
            yield row.last_chunk()

    def _due_rows(self) -> list[SpeechRow]:
        """Return the rows whose next chunks are decoded now: the most overdue ones.

        The codec is called at most once for each frame, so that many chunks do not delay the next
        frame. A call takes enough rows for the codec to keep up with all of them. While a row waits
        for its first chunk, the chunks of rows whose listeners have enough buffered are delayed.
        """
        speaking = [row for row in self._rows.values() if not row.has_left]
        some_wait = any(row.chunks == 0 for row in speaking)
        due = [row for row in speaking if row.is_due(is_patient=some_wait)]
        if not due:
            return []
        due.sort(key=SpeechRow.lateness, reverse=True)
        frames = due[0].next_chunk_frames()
        at_once = self._plan.rows_at_once(frames, self.rows)
        return [row for row in due if row.next_chunk_frames() == frames][:at_once]

    def _decode(self, rows: list[SpeechRow]) -> None:
        """Begin to decode the first frames of some rows, as many of each."""
        if not rows:
            return
        frames = min(MOST_FRAMES, *(len(row.frames) for row in rows))
        if not self._plan.takes_all:
            frames = min(frames, *(row.next_chunk_frames() for row in rows))
        codes = torch.stack([torch.stack(row.frames[:frames]) for row in rows])
        samples = self._codec.decode([self._slot_of(row) for row in rows], codes)
        is_urgent = any(row.chunks == 0 for row in rows)
        reading = self._codec.begin_reading(samples)
        self._calls.append(CodecCall(rows, frames, reading, self._step_number, is_urgent))
        for row in rows:
            row.launched(frames)

    def _open_slots(self) -> None:
        """Let the codec decode the references of the rows that have just begun.

        On a GPU that goes on beside the next frames, and is over when the first chunk is due.
        """
        for row in self._rows.values():
            if row.generated:
                self._slot_of(row)

    def _slot_of(self, row: SpeechRow) -> CodecRow:
        if row.codec is None:
            row.codec = self._codec.open(row.request.reference_codes)
        return row.codec

    def _take_samples(self, *, is_idle: bool) -> Iterator[SpeechChunk]:
        """Yield the chunks whose samples have arrived, or are waited for.

        Samples are waited for in the step after the one that has launched the call if somebody
        waits for the first sound, and otherwise one step later. So a GPU runs out of work only if
        a call takes longer than a step, or two.

        Args:
            is_idle: Whether nothing better is to be done than to wait for all.
        """
        waited_for = [each for each in self._calls if is_idle or self._is_needed(each)]
        if waited_for and not waited_for[-1].samples.is_ready():
            waited_for[-1].samples.wait()
        while self._calls and self._calls[0].samples.is_ready():
            waveforms = self._calls[0].samples.read()
            call = self._calls.popleft()
            for row, waveform in zip(call.rows, waveforms, strict=True):
                if self._rows.get(row.number) is row:
                    yield from row.arrived(call.frames, waveform)

    def _is_needed(self, call: CodecCall) -> bool:
        return self._step_number - call.step >= (1 if call.is_urgent else 2)


def _codes_failed() -> GenerationFailedError:
    return GenerationFailedError("the model's logits are not numbers")
