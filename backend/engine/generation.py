"""Rows that are spoken together, one codec frame at a time; they join and leave between frames."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import torch

from backend.contract import GenerationFailedError, SpeechError, SpeechRunsOnError
from backend.engine.first_codes import FAILED
from backend.engine.interface import SpeechChunk
from backend.engine.row_output import RowOutput
from backend.engine.sampling import draw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from backend.contract import SpeechRequest
    from backend.engine.batch import Decoder, DecoderRow
    from backend.engine.codec import CodecDecoder, CodecStream
    from backend.engine.prompt_embeds import LaidOutRequest
    from backend.watermark.watermark import Watermarker

FIRST_FRAMES = (4, 4, 8, 12)
"""Frames of a row's first chunks. The first two are 0.32 s of speech each: the sooner it can be
heard. The watermark holds back 0.2 s of the first, so players begin with the second; if a frame is
made in six tenths of the time that it lasts, they never wait for more."""

FRAMES = 20
"""Frames of all later chunks, 1.6 s of speech. Fewer would cost more calls of the codec; on a CPU
each takes as long as five to eight frames, beside its frames."""

CODEC_FRAMES = 40
"""Frames that the codec decodes at once, of all rows together. Its time grows with them, and
meanwhile nobody's next frame is made."""

_ATTEMPTS = 2
_SHORT_CHUNKS = 2
_SPARE_FRAMES = 4  # for which a row can wait that is well ahead of its listener
_HEAD_START = 8  # frames by which a row that was never heard goes before others
_NOTHING = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A job that was checked and laid out.

    Attributes:
        request: What the talker reads.
        seed: Where its chance comes from; None is the system.
        most_tokens: It has to end within so many, the end of speech among them.
    """

    request: LaidOutRequest
    seed: int | None
    most_tokens: int


@dataclass(eq=False, slots=True)
class _Row:
    """A sentence that is being spoken.

    Attributes:
        number: What its chunks are labelled with.
        sentence: What was asked for.
        attempt: 0, or 1 once it is spoken anew.
        decoding: It in the decoder.
        output: Where its samples leave.
        codec: It on the way to sound, once it was heard.
        frames: Made, but not yet heard.
        tokens: How many first codes it has had.
        chunks: How many have left.
        restarts: Whether its next chunk is the first of another attempt.
        error: What has gone wrong with it.
    """

    number: int
    sentence: Sentence
    attempt: int
    decoding: DecoderRow
    output: RowOutput
    codec: CodecStream | None = None
    frames: list[torch.Tensor] = field(default_factory=list)
    tokens: int = 0
    chunks: int = 0
    restarts: bool = False
    error: SpeechError | None = None

    def chunk_frames(self) -> int:
        """How many frames its next chunk should have."""
        return FIRST_FRAMES[self.chunks] if self.chunks < len(FIRST_FRAMES) else FRAMES

    def is_due(self, *, is_patient: bool) -> bool:
        """Tell whether its next chunk should be heard now.

        Args:
            is_patient: It may wait for the time of a first chunk if its listener has enough.
        """
        spare = _SPARE_FRAMES if is_patient and self.chunks >= _SHORT_CHUNKS else 0
        return len(self.frames) >= self.chunk_frames() + spare

    def urgency(self) -> int:
        """How many frames its next chunk is late; who was never heard, is so much more than others.

        Not by any number: then, while sentences keep coming, the others would never be heard again.
        """
        return len(self.frames) - self.chunk_frames() + (0 if self.chunks else _HEAD_START)

    def take(
        self, frames: int, samples: NDArray[np.float32], *, is_sound: bool
    ) -> Iterator[SpeechChunk]:
        """Pass on the samples of its first frames, unless there is something wrong with them."""
        del self.frames[:frames]
        self.chunks += 1
        if not is_sound:
            self.error = _not_numbers()
            return
        try:
            yield self._chunk(self.output.take(samples))
        except GenerationFailedError as error:
            self.error = error

    def last_chunk(self) -> SpeechChunk:
        """Say how it ended, with what is left of its speech."""
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


class FrameLoop:
    """Speaks the jobs that have joined it. For one thread.

    If `step` raises, all that is under way is lost, and the loop must not be used again.

    Args:
        lay_out: Checks a job and lays it out, or raises `SpeechError`.
        decoder: Makes frames, of at most `capacity` rows.
        codec: Makes them sound.
        end_of_speech: The first code that ends a row.
        code_groups: The codes of a frame.
        capacity: The most rows.
        watermark: Marks what is spoken, or None.

    Attributes:
        capacity: The same.
    """

    def __init__(  # noqa: PLR0913 - the parts of a loaded model
        self,
        lay_out: Callable[[SpeechRequest], Sentence],
        decoder: Decoder,
        codec: CodecDecoder,
        *,
        end_of_speech: int,
        code_groups: int,
        capacity: int,
        watermark: Watermarker | None,
    ) -> None:
        self.capacity = capacity
        self._lay_out = lay_out
        self._decoder = decoder
        self._codec = codec
        self._end_of_speech = end_of_speech
        self._code_groups = code_groups
        self._watermark = watermark
        self._numbers = count()
        self._rows: dict[DecoderRow, _Row] = {}

    @property
    def rows(self) -> int:
        """How many jobs have joined and are not over."""
        return len(self._rows)

    def join(self, job: SpeechRequest) -> int:
        """Let a job be spoken from the next frame on.

        Returns:
            Its number, by which its chunks are known.

        Raises the `SpeechError` that keeps it from being spoken, or ValueError if there is no room.
        """
        if self.rows >= self.capacity:
            raise ValueError(f"{self.rows} rows are under way already")
        sentence = self._lay_out(job)
        number = next(self._numbers)
        self._begin(number, sentence, attempt=0)
        return number

    def leave(self, number: int) -> None:
        """Drop a job: it costs nothing more, and no further chunk of it comes."""
        for row in self._rows.values():
            if row.number == number:
                self._drop(row)
                return

    def step(self) -> Iterator[SpeechChunk]:
        """Move every row on by one frame; give the chunks that became ready, often none.

        Every job's chunks end with one that `is_last`. A job's error ends that job alone. A job
        that finds no end is spoken anew once, beginning with a chunk that `restarts`, and then
        fails with `SpeechRunsOnError`. Read all of it before anything else is called.
        """
        ended, ran_on = [], []
        for decoding, code in self._decoder.choose_first_codes():
            row = self._rows[decoding]
            row.tokens += 1
            if code == FAILED:
                row.error = _not_numbers()
            if code == self._end_of_speech or row.error is not None:
                ended.append(row)
            elif row.tokens >= row.sentence.most_tokens:
                ran_on.append(row)
        for row in ended:
            yield from self._end(row)
        for row in ran_on:
            yield from self._begin_anew(row)
        for decoding, codes in self._decoder.make_frames():
            self._rows[decoding].frames.append(codes)
        yield from self._decode(self._due())

    def _begin(self, number: int, sentence: Sentence, attempt: int) -> None:
        draws = draw(sentence.seed, attempt, (sentence.most_tokens, self._code_groups))
        output = RowOutput(self._watermark)
        decoding = self._decoder.join(sentence.request, draws)
        self._rows[decoding] = _Row(
            number, sentence, attempt, decoding, output, restarts=attempt > 0
        )

    def _begin_anew(self, row: _Row) -> Iterator[SpeechChunk]:
        """Give a row that found no end another attempt, if it has one left."""
        self._drop(row)
        if row.attempt + 1 < _ATTEMPTS:
            self._begin(row.number, row.sentence, row.attempt + 1)
            return
        row.error = SpeechRunsOnError(row.sentence.most_tokens / self._codec.frames_per_second)
        yield row.last_chunk()

    def _end(self, row: _Row) -> Iterator[SpeechChunk]:
        self._drop(row)
        if row.frames and row.error is None:
            yield from self._decode([row])
        yield row.last_chunk()

    def _drop(self, row: _Row) -> None:
        del self._rows[row.decoding]
        self._decoder.leave(row.decoding)

    def _due(self) -> list[_Row]:
        """Choose the rows that are heard next: those that wait longest.

        One call of the codec for each frame, so that nobody's next frame is held up by many, but
        of so many rows that the codec keeps up with all. While somebody waits for a first chunk,
        those who are well ahead of their listeners wait longer.
        """
        somebody_waits = any(row.chunks == 0 for row in self._rows.values())
        due = [row for row in self._rows.values() if row.is_due(is_patient=somebody_waits)]
        if not due:
            return []
        due.sort(key=_Row.urgency, reverse=True)
        frames = due[0].chunk_frames()
        at_once = max(CODEC_FRAMES // frames, math.ceil(self.rows / FRAMES))
        return [row for row in due if row.chunk_frames() == frames][:at_once]

    def _decode(self, rows: Sequence[_Row]) -> Iterator[SpeechChunk]:
        """Make the first frames of rows heard, as many as each of them has."""
        if not rows:
            return
        count = min(len(row.frames) for row in rows)
        codes = torch.stack([torch.stack(row.frames[:count]) for row in rows])
        samples = self._codec.decode([self._codec_of(row) for row in rows], codes.clamp(min=0))
        are_sound = (codes >= 0).flatten(1).all(dim=1).tolist()
        for row, wave, is_sound in zip(rows, samples.float().cpu().numpy(), are_sound, strict=True):
            yield from row.take(count, wave, is_sound=is_sound)

    def _codec_of(self, row: _Row) -> CodecStream:
        if row.codec is None:
            row.codec = self._codec.open(row.sentence.request.reference_codes)
        return row.codec


def _not_numbers() -> GenerationFailedError:
    return GenerationFailedError("the model's choices are not numbers")
