"""The generation loop: decodes rows together, one codec frame at a time, and yields their chunks.

Requests are added and removed between frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import torch

from backend.contract import (
    GenerationFailedError,
    SpeechError,
    SpeechRunsOnError,
)
from backend.engine.batch import Row
from backend.engine.interface import SpeechChunk
from backend.engine.sampling import FAILED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from backend.contract import SpeechRequest
    from backend.engine.batch import Batch
    from backend.engine.codec import CodecDecoder, CodecState
    from backend.engine.prompt_embeds import PreparedRequest
    from backend.watermark.watermark import Watermarker

FIRST_CHUNK_FRAMES = (4, 4, 8, 12)
"""Frames of a row's first chunks. The first two are short, 0.32 s of speech each, so that playing
can begin soon. The watermark holds back 0.2 s of the first, so players begin with the second. From
then on they never wait, if a frame is made in six tenths of the time that it lasts."""

CHUNK_FRAMES = 20
"""Frames of all later chunks, 1.6 s of speech. Fewer would cost more calls of the codec. On a CPU
each call takes as long as five to eight frames, besides the time for its own frames."""

CODEC_BATCH_FRAMES = 40
"""Frames that the codec decodes in one call, of all rows together. Its time grows with them, and
meanwhile no row's next frame is made."""

_ATTEMPTS = 2
_SHORT_CHUNKS = 2
_SPARE_FRAMES = 4  # how much longer a row's chunk can wait when its listener has enough to play
_FIRST_CHUNK_BONUS = 8  # frames of lateness that a row's first chunk starts with
_SILENT_LEVEL = 10 ** (-60 / 20)  # of full scale
_NOTHING = np.zeros(0, np.float32)


class RowOutput:
    """Checks that the samples of one row are speech, and marks them.

    Args:
        watermark: Marks them. None leaves them as they are, for measurements.
    """

    def __init__(self, watermark: Watermarker | None) -> None:
        self._marking = watermark and watermark.stream()
        self._lowest = np.inf
        self._highest = -np.inf

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next samples; return those that are ready, which lag a little behind.

        Raises `GenerationFailedError` if the samples are not finite.
        """
        if not np.isfinite(samples).all():
            raise GenerationFailedError("the model made samples that are not numbers")
        self._lowest = samples.min(initial=self._lowest)
        self._highest = samples.max(initial=self._highest)
        return self._marking.push(samples) if self._marking else samples

    def finish(self) -> NDArray[np.float32]:
        """Return the rest.

        Raises `GenerationFailedError` if all samples were silent.
        """
        if self._highest - self._lowest < 2 * _SILENT_LEVEL:
            raise GenerationFailedError("the model made silence")
        return self._marking.finish() if self._marking else _NOTHING


@dataclass(eq=False, slots=True, kw_only=True)
class SpeechRow(Row):
    """A row of the batch, and what becomes of its frames.

    Attributes:
        number: The number of its request, which its chunks carry.
        output: Checks and marks its samples.
        codec: The codec's state, once the first chunk is decoded.
        frames: Made, but not yet decoded by the codec.
        tokens: How many codes of codebook 0 it has had.
        chunks: How many chunks were decoded.
        restarts: Whether its next chunk is the first of another attempt.
        error: What went wrong with it.
    """

    number: int
    output: RowOutput
    codec: CodecState | None = None
    frames: list[Tensor] = field(default_factory=list)
    tokens: int = 0
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
            is_patient: Wait for a few frames more if the listener has enough to play.
        """
        spare = _SPARE_FRAMES if is_patient and self.chunks >= _SHORT_CHUNKS else 0
        return len(self.frames) >= self.next_chunk_frames() + spare

    def lateness(self) -> int:
        """Return how many frames the next chunk is late, with a bonus for a first chunk.

        The bonus is limited: with no limit, new requests could keep older rows waiting forever.
        """
        bonus = 0 if self.chunks else _FIRST_CHUNK_BONUS
        return len(self.frames) - self.next_chunk_frames() + bonus

    def decoded(
        self, frames: int, samples: NDArray[np.float32], *, is_valid: bool
    ) -> Iterator[SpeechChunk]:
        """Pass on the samples of the first frames, unless something is wrong with them."""
        del self.frames[:frames]
        self.chunks += 1
        if not is_valid:
            self.error = _codes_failed()
            return
        try:
            yield self._chunk(self.output.push(samples))
        except GenerationFailedError as error:
            self.error = error

    def last_chunk(self) -> SpeechChunk:
        """Return the end of the row: what is left of its speech, or its error."""
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
    """Speaks the requests that are added to it. For one thread.

    If `step` raises, all rows are lost, and the loop must not be used again.

    Args:
        prepare: Checks a request and makes its prompt embeddings, or raises `SpeechError`.
        batch: An empty batch, which makes the frames.
        codec: Decodes frames into samples.
        watermark: Marks the speech; None leaves it unmarked.
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
        """How many requests were added and have not ended."""
        return len(self._rows)

    def add(self, request: SpeechRequest) -> int:
        """Add a request, which is spoken from the next frame on.

        Returns:
            Its number, which its chunks carry.

        Raises the `SpeechError` that keeps it from being spoken, or ValueError if the batch is full
        or a number in the request is out of its range.
        """
        if self.rows >= self._batch.capacity:
            raise ValueError(f"all {self.rows} rows are in use")
        prepared = self._prepare(request)
        number = next(self._numbers)
        self._start(number, prepared, attempt=0)
        return number

    def remove(self, number: int) -> None:
        """Remove a request. It costs nothing more, and has no further chunk."""
        if number in self._rows:
            self._batch.remove(self._rows.pop(number))

    def step(self) -> Iterator[SpeechChunk]:
        """Make the next frame of every row; yield the chunks that became ready, often none.

        Every request's chunks end with one that `is_last`. An error ends its own request alone. A
        request whose speech has no end is spoken again once, beginning with a chunk that
        `restarts`, and then fails with `SpeechRunsOnError`. Read all chunks before the next call of
        anything.
        """
        ended, ran_on = [], []
        for row, code in self._batch.next_codes():
            row.tokens += 1
            if code == FAILED:
                row.error = _codes_failed()
            if code == self._batch.end_of_speech or row.error is not None:
                ended.append(row)
            elif row.tokens >= row.request.max_tokens:
                ran_on.append(row)
        for row in ended:
            yield from self._end(row)
        for row in ran_on:
            yield from self._retry(row)
        for row, frame in self._batch.decode_step():
            row.frames.append(frame)
        yield from self._decode(self._due_rows())

    def _start(self, number: int, request: PreparedRequest, attempt: int) -> None:
        row = SpeechRow(
            request, attempt, number=number, output=RowOutput(self._watermark), restarts=attempt > 0
        )
        self._batch.add(row)
        self._rows[number] = row

    def _retry(self, row: SpeechRow) -> Iterator[SpeechChunk]:
        """Give a row whose speech has no end another attempt, if one is left."""
        self.remove(row.number)
        if row.attempt + 1 < _ATTEMPTS:
            self._start(row.number, row.request, row.attempt + 1)
            return
        row.error = SpeechRunsOnError(row.request.max_tokens / self._codec.frames_per_second)
        yield row.last_chunk()

    def _end(self, row: SpeechRow) -> Iterator[SpeechChunk]:
        self.remove(row.number)
        if row.frames and row.error is None:
            yield from self._decode([row])
        yield row.last_chunk()

    def _due_rows(self) -> list[SpeechRow]:
        """Return the rows whose next chunks are decoded now: those that are latest.

        There is one call of the codec for each frame, so that many chunks do not delay the next
        frame. It takes enough rows for the codec to keep up with all. While a row waits for its
        first chunk, those whose listeners have enough to play wait longer.
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
        """Decode the first frames of some rows: as many as each of them has."""
        if not rows:
            return
        frames = min(len(row.frames) for row in rows)
        codes = torch.stack([torch.stack(row.frames[:frames]) for row in rows])
        samples = self._codec.decode([self._codec_of(row) for row in rows], codes.clamp(min=0))
        are_valid = (codes >= 0).flatten(1).all(dim=1).tolist()
        waveforms = samples.float().cpu().numpy()
        for row, waveform, is_valid in zip(rows, waveforms, are_valid, strict=True):
            yield from row.decoded(frames, waveform, is_valid=is_valid)

    def _codec_of(self, row: SpeechRow) -> CodecState:
        if row.codec is None:
            row.codec = self._codec.open(row.request.reference_codes)
        return row.codec


def _codes_failed() -> GenerationFailedError:
    return GenerationFailedError("the model's logits are not numbers")
