"""The generation loop: it decodes rows together, one codec frame at a time, and yields chunks.

Requests are added and removed between frames.
"""

from __future__ import annotations

import logging
import math
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
from backend.engine.failures import is_out_of_memory
from backend.engine.interface import SpeechChunk
from backend.engine.sampling import FAILED
from backend.engine.speech_length import EndDetector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from backend.contract import SpeechRequest
    from backend.engine.batch import Batch
    from backend.engine.codec import CodecDecoder, CodecState
    from backend.engine.prompt_embeds import PreparedRequest
    from backend.watermark.watermark import Watermarker

log = logging.getLogger(__name__)

FIRST_CHUNK_FRAMES = (4, 4, 8, 12)
"""How many frames a row's first chunks have. The first two are short, 0.32 s of speech each, so
that playback can begin soon. The watermark holds back 0.2 s of the first one, so playback begins
with the second. After that it never runs dry if a frame takes at most 0.6 times its own duration to
generate."""

CHUNK_FRAMES = 20
"""How many frames all later chunks have: 1.6 s of speech. Shorter chunks need more calls of the
codec. On a CPU the overhead of each call is as long as decoding five to eight frames."""

CODEC_BATCH_FRAMES = 40
"""The most frames that the codec decodes in one call, of all rows together. The call takes longer
with more frames, and no row can generate its next frame until it returns."""

_ATTEMPTS = 2
_SHORT_CHUNKS = 2
_SPARE_FRAMES = 4  # how many frames a chunk can be delayed by if its listener has enough buffered
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
        codec: The codec's state; None until its first chunk is decoded.
        frames: Generated frames that the codec has not decoded yet.
        generated: How many frames were generated.
        chunks: How many chunks were decoded.
        restarts: Whether its next chunk is the first of another attempt.
        error: The error that ends it, if there is one.
    """

    number: int
    output: RowOutput
    ending: EndDetector
    codec: CodecState | None = None
    frames: list[Tensor] = field(default_factory=list)
    generated: int = 0
    chunks: int = 0
    restarts: bool = False
    error: SpeechError | None = None

    def next_chunk_frames(self) -> int:
        """Return how many frames the next chunk should have."""
        if self.chunks < len(FIRST_CHUNK_FRAMES):
            return FIRST_CHUNK_FRAMES[self.chunks]
        return CHUNK_FRAMES

    def is_due(self, *, is_patient: bool) -> bool:
        """Return whether the next chunk should be decoded now.

        Args:
            is_patient: Whether to wait for a few more frames if the listener has enough buffered.
        """
        spare = _SPARE_FRAMES if is_patient and self.chunks >= _SHORT_CHUNKS else 0
        return len(self.frames) >= self.next_chunk_frames() + spare

    def lateness(self) -> int:
        """Return by how many frames the next chunk is overdue, with a bonus for a first chunk.

        The bonus is limited. Otherwise new requests could delay the chunks of older rows forever.
        """
        bonus = 0 if self.chunks else _FIRST_CHUNK_BONUS
        return len(self.frames) - self.next_chunk_frames() + bonus

    def decoded(self, frames: int, samples: NDArray[np.float32]) -> Iterator[SpeechChunk]:
        """Yield the chunk for the decoded samples of the first frames, and drop these frames.

        Of speech that is over, the end of the silence is left out. Sets `error` and yields nothing
        if the samples are not valid.
        """
        del self.frames[:frames]
        self.chunks += 1
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


class GenerationLoop:
    """Generates the speech of the requests that are added to it. Not thread-safe.

    If `step` raises, all rows are lost, and the loop must not be used again.

    Args:
        prepare: Validates a request and builds its prompt embeddings, or raises `SpeechError`.
        batch: An empty batch, which generates the frames.
        codec: Decodes frames into samples.
        watermark: Marks the speech; with None it stays unmarked.
    """

    def __init__(
        self,
        prepare: Callable[[SpeechRequest], PreparedRequest],
        batch: Batch[SpeechRow],
        codec: CodecDecoder,
        watermark: Watermarker | None,
    ) -> None:
        self._prepare = prepare
        self._batch = batch
        self._codec = codec
        self._watermark = watermark
        self._numbers = count()
        self._rows: dict[int, SpeechRow] = {}

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
        if number in self._rows:
            self._batch.remove(self._rows.pop(number))

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
        ended, ran_on = [], []
        for row, code in self._batch.next_codes():
            if code == FAILED:
                row.error = _codes_failed()
            if code == self._batch.end_of_speech or row.error is not None:
                ended.append(row)
            elif row.generated + 1 >= row.request.max_tokens:
                ran_on.append(row)
        for row in ended:
            yield from self._end(row)
        for row in ran_on:
            yield from self._retry(row)
        for row, frame in self._batch.decode_step():
            row.frames.append(frame)
            row.generated += 1
        yield from self._decode(self._due_rows())
        for row in [each for each in self._rows.values() if each.ending.is_over]:
            self.remove(row.number)
            yield row.last_chunk()

    def _start(self, number: int, request: PreparedRequest, attempt: int) -> None:
        row = SpeechRow(
            request,
            attempt,
            number=number,
            output=RowOutput(self._watermark),
            ending=EndDetector(request.text_tokens),
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

    def _end(self, row: SpeechRow) -> Iterator[SpeechChunk]:
        if row.frames and row.error is None:
            yield from self._decode([row])
        self.remove(row.number)
        yield row.last_chunk()

    def _due_rows(self) -> list[SpeechRow]:
        """Return the rows whose next chunks are decoded now: the most overdue ones.

        The codec is called at most once for each frame, so that many chunks do not delay the next
        frame. A call takes enough rows for the codec to keep up with all of them. While a row waits
        for its first chunk, the chunks of rows whose listeners have enough buffered are delayed.
        """
        some_wait = any(row.chunks == 0 for row in self._rows.values())
        due = [row for row in self._rows.values() if row.is_due(is_patient=some_wait)]
        if not due:
            return []
        due.sort(key=SpeechRow.lateness, reverse=True)
        frames = due[0].next_chunk_frames()
        at_once = max(CODEC_BATCH_FRAMES // frames, math.ceil(self.rows / CHUNK_FRAMES))
        return [row for row in due if row.next_chunk_frames() == frames][:at_once]

    def _decode(self, rows: Sequence[SpeechRow]) -> Iterator[SpeechChunk]:
        """Decode the first frames of some rows: as many as the row with the fewest frames has."""
        if not rows:
            return
        frames = min(len(row.frames) for row in rows)
        codes = torch.stack([torch.stack(row.frames[:frames]) for row in rows])
        samples = self._codec.decode([self._codec_of(row) for row in rows], codes.clamp(min=0))
        # Failed codes make samples that are not numbers. So one copy tells all, with one wait.
        have_failed = (codes < 0).flatten(1).any(dim=1, keepdim=True)
        waveforms = samples.float().masked_fill(have_failed, torch.nan).cpu().numpy()
        for row, waveform in zip(rows, waveforms, strict=True):
            yield from row.decoded(frames, waveform)

    def _codec_of(self, row: SpeechRow) -> CodecState:
        if row.codec is None:
            row.codec = self._codec.open(row.request.reference_codes)
        return row.codec


def _codes_failed() -> GenerationFailedError:
    return GenerationFailedError("the model's logits are not numbers")
