"""The generation loop: it decodes rows together, one codec frame at a time, and yields chunks.

Requests are added and removed between frames.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from functools import partial
from itertools import count, islice
from typing import TYPE_CHECKING

import torch

from backend.contract import BackendBusyError, GenerationFailedError, SpeechRunsOnError
from backend.engine.chunk_plan import CPU_PLAN, MOST_FRAMES
from backend.engine.failures import is_out_of_memory
from backend.engine.row_output import NOTHING, SpeechOutput
from backend.engine.sampling import FAILED
from backend.engine.speech_length import EndDetector
from backend.engine.speech_row import CodecCall, SpeechRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from backend.contract import SpeechRequest
    from backend.engine.batch import Batch
    from backend.engine.chunk_plan import ChunkPlan
    from backend.engine.codec.decoder import CodecDecoder, CodecRow
    from backend.engine.codec.thread import CodecThread
    from backend.engine.interface import ReadRequest, SpeechChunk
    from backend.engine.prompt_embeds import PreparedRequest
    from backend.watermark.watermark import Watermarker

log = logging.getLogger(__name__)

_ATTEMPTS = 2


class GenerationLoop:
    """Generates the speech of the requests that are added to it. Not thread-safe.

    If `step` raises, all rows are lost, and the loop must not be used again.

    Args:
        prepare: Builds the prompt embeddings of a request, which it reads first if nobody has read
            it; or raises `SpeechError`.
        batch: An empty batch, which generates the frames.
        codec: Decodes frames into samples.
        watermark: Marks the speech; with None it stays unmarked.
        plan: How many frames are decoded to samples at a time.
        beside: Decodes chunks that can wait, while the next frames are generated. None decodes all
            chunks between two frames, or on a GPU's own stream.
    """

    def __init__(  # noqa: PLR0913 - independent parts
        self,
        prepare: Callable[[SpeechRequest | ReadRequest], PreparedRequest],
        batch: Batch[SpeechRow],
        codec: CodecDecoder,
        watermark: Watermarker | None,
        plan: ChunkPlan = CPU_PLAN,
        *,
        beside: CodecThread | None = None,
    ) -> None:
        self._prepare = prepare
        self._batch = batch
        self._codec = codec
        self._output = SpeechOutput(watermark)
        self._plan = plan
        self._beside = beside
        self._numbers = count()
        self._rows: dict[int, SpeechRow] = {}
        self._calls: deque[CodecCall] = deque()  # in the order in which they arrive
        self._step_number = 0
        codec.clear()

    @property
    def rows(self) -> int:
        """How many requests were added and have not ended yet."""
        return len(self._rows)

    def add(self, request: SpeechRequest | ReadRequest) -> int:
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
        codes = self._batch.next_codes()
        # On a GPU, the next step has been launched: while it runs, there is time to wait.
        yield from self._take_samples(is_idle=not codes, is_patient=self._all_have_left())
        ran_on = self._read(codes)
        yield from self._take_at_once()
        yield from self._end_rows()
        for row in ran_on:
            yield from self._retry(row)
        for row, frame in self._batch.decode_step():
            row.frames.append(frame)
            row.generated += 1
        for due in self._due_rows():
            if self._beside and self._beside.is_free and all(row.can_be_patient for row in due):
                self._decode_beside(due, self._beside)
            else:
                self._decode(due)
        self._open_slots()
        yield from self._take_at_once()
        yield from self._end_rows()

    def _all_have_left(self) -> bool:
        """Return whether there are rows, and all their frames were generated."""
        return bool(self._rows) and all(row.has_left for row in self._rows.values())

    def _read(self, codes: list[tuple[SpeechRow, int]]) -> list[SpeechRow]:
        """End the rows whose next codes say so; return those that have reached their limit."""
        ran_on = []
        for row, code in codes:
            if row.is_over:
                continue
            if code == FAILED:
                row.error = GenerationFailedError("the model's logits are not numbers")
            elif code == self._batch.end_of_speech:
                self._end(row)
            elif row.generated + 1 >= row.request.max_tokens:
                ran_on.append(row)
        return ran_on

    def _start(self, number: int, request: PreparedRequest, attempt: int) -> None:
        row = SpeechRow(
            request,
            attempt,
            number=number,
            output=self._output.open(),
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
        over = [row for row in self._rows.values() if row.is_over]
        for row in over:
            self.remove(row.number)
        valid = [row for row in over if row.error is None]
        rests = dict(zip(valid, self._output.finish([row.output for row in valid]), strict=True))
        for row in over:
            yield row.last_chunk(rests.get(row, NOTHING))

    def _due_rows(self) -> list[list[SpeechRow]]:
        """Return the rows whose next chunks are decoded now, for each call: the most overdue ones.

        The codec is called a limited number of times for each frame, so that many chunks do not
        delay the next frame. A call takes enough rows for the codec to keep up with all of them.
        While a row waits for its first chunk, the chunks of rows whose listeners have enough
        buffered are delayed. So are those of rows that another thread decodes the last chunks of.
        """
        beside = {row for call in self._calls if call.is_beside for row in call.rows}
        speaking = [
            row
            for row in self._rows.values()
            if not row.has_left and (row not in beside or len(row.frames) >= MOST_FRAMES)
        ]
        some_wait = any(row.chunks == 0 for row in speaking)
        due = [row for row in speaking if row.is_due(is_patient=some_wait)]
        due.sort(key=SpeechRow.lateness, reverse=True)
        alike: dict[tuple[int, bool], list[SpeechRow]] = {}
        for row in due:
            alike.setdefault(row.next_chunk_kind(), []).append(row)
        return [
            rows[: self._plan.rows_at_once(frames, self.rows)]
            for (frames, _), rows in islice(alike.items(), self._plan.calls)
        ]

    def _decode(self, rows: list[SpeechRow]) -> None:
        """Begin to decode the first frames of some rows, as many of each."""
        for call in self._calls:
            if call.is_beside and not set(rows).isdisjoint(call.rows):
                call.samples.wait()  # frames of a row are decoded in their order
        codes = self._first_frames(rows)
        frames = codes.shape[1]
        samples = self._codec.decode([self._slot_of(row) for row in rows], codes)
        is_urgent = rows[0].is_urgent
        for row in rows:
            row.launched(frames)
        try:
            reading = self._codec.begin_reading(samples)
        except Exception:
            for row in rows:
                row.error = BackendBusyError()  # these samples are lost
            raise
        self._calls.append(CodecCall(rows, frames, reading, self._step_number, is_urgent))

    def _decode_beside(self, rows: list[SpeechRow], beside: CodecThread) -> None:
        """Let another thread decode the first frames of some rows, as many of each."""
        codes = self._first_frames(rows)
        decode = partial(self._codec.decode_patiently, [self._slot_of(row) for row in rows])
        samples = beside.begin(decode, codes)
        for row in rows:
            row.launched(codes.shape[1])
        self._calls.append(
            CodecCall(
                rows, codes.shape[1], samples, self._step_number, is_urgent=False, is_beside=True
            )
        )

    def _first_frames(self, rows: list[SpeechRow]) -> torch.Tensor:
        """Return the next frames of some rows, as many of each: `(rows, frames, code_groups)`."""
        frames = min(MOST_FRAMES, *(len(row.frames) for row in rows))
        if not self._plan.takes_all:
            frames = min(frames, *(row.next_chunk_frames() for row in rows))
        codes = torch.stack([frame for row in rows for frame in row.frames[:frames]])
        return codes.view(len(rows), frames, -1)

    def _open_slots(self) -> None:
        """Let the codec decode the references of the rows that have just begun.

        On a GPU that goes on beside the next frames, and is over when the first chunk is due.
        """
        for row in self._rows.values():
            if row.generated:
                self._slot_of(row)

    def _slot_of(self, row: SpeechRow) -> CodecRow:
        if row.codec is None:
            row.codec = self._codec.open(row.request.reference_codes, row.request.reference)
        return row.codec

    def _take_at_once(self) -> Iterator[SpeechChunk]:
        """Yield the chunks of this step, where nothing else could be done meanwhile."""
        if not self._batch.is_ahead:
            yield from self._take_samples(is_idle=True)

    def _take_samples(self, *, is_idle: bool, is_patient: bool = False) -> Iterator[SpeechChunk]:
        """Yield the chunks whose samples have arrived, or are waited for.

        Samples of an urgent call are waited for in the step after the one that has launched it, and
        others one step later. So a GPU runs out of work only if a call takes longer than a step, or
        than two. Urgent ones that have arrived go first, because marking takes time.

        Args:
            is_idle: Whether nothing better is to be done than to wait for all.
            is_patient: Whether that is so for those that another thread decodes, too.
        """
        waited_for = [
            each
            for each in self._calls
            if (is_patient if each.is_beside else is_idle or self._is_needed(each))
        ]
        # The last first: a GPU has then completed those before it.
        for call in reversed(waited_for):
            if not call.samples.is_ready():
                call.samples.wait()
        # The last first here, too: if one has arrived, those of the same rows before it have.
        arrived = [call for call in reversed(self._calls) if call.samples.is_ready()][::-1]
        for call in arrived:
            self._calls.remove(call)
        # A row's urgent chunks are its first ones. So its own chunks stay in order.
        for call in sorted(arrived, key=lambda each: not each.is_urgent):
            try:
                waveforms = call.samples.read()
            except Exception as error:
                if not call.is_beside:
                    raise
                self._lose(call, error)
            else:
                yield from self._chunks(call, waveforms)

    def _lose(self, call: CodecCall, error: Exception) -> None:
        """End the rows of a call that another thread could not decode."""
        log.error("the codec has failed for %d sentences", len(call.rows), exc_info=error)
        for row in call.rows:
            row.in_flight -= 1
            row.error = row.error or (
                BackendBusyError()
                if is_out_of_memory(error)
                else GenerationFailedError("the codec has failed")
            )

    def _chunks(self, call: CodecCall, waveforms: NDArray[np.float32]) -> Iterator[SpeechChunk]:
        """Yield the chunks for the samples of a call, `(rows, samples)`."""
        rows, pieces = [], []
        for row, waveform in zip(call.rows, waveforms, strict=True):
            is_wanted = self._rows.get(row.number) is row
            if is_wanted and (piece := row.arrived(call.frames, waveform)) is not None:
                rows.append(row)
                pieces.append(piece)
        marked = self._output.push([row.output for row in rows], pieces)
        for row, samples in zip(rows, marked, strict=True):
            yield from row.marked(samples)

    def _is_needed(self, call: CodecCall) -> bool:
        return self._step_number - call.step >= (1 if call.is_urgent else 2)
