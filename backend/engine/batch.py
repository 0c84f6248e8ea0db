"""A batch being spoken: frames are made step by step, and leave as samples every few frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import torch

from backend.contract import GenerationFailedError, SpeechError
from backend.engine.talker_rows import FAILED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from backend.engine.codec_stream import CodecStream
    from backend.engine.request_layout import LaidOutRequest
    from backend.engine.row_output import RowOutput
    from backend.engine.talker_rows import TalkerRows

FIRST_FRAMES = 5
"""Frames before a batch is first heard: 0.4 s of speech. The watermark holds back 0.2 s of it."""

FRAMES = 8
"""Frames from chunk to chunk: 0.64 s of speech. Fewer would cost more calls of the codec."""

_NOTHING = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class SpeechChunk:
    """A stretch of one row's speech, or its end.

    Attributes:
        row: Which job it belongs to, by its index in the batch.
        samples: float32 `(n,)` in [-1, 1]; n may be 0.
        is_last: Whether the row is over.
        error: Why it is over, if that is not the end of its speech.
        restarts: The model lost its way and begins the row anew with this chunk: what came before
            belongs to no speech.
    """

    row: int
    samples: NDArray[np.float32] = field(repr=False)
    is_last: bool
    error: SpeechError | None = None
    restarts: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a batch, ready to be spoken.

    Attributes:
        number: Its index in the batch.
        request: What the talker reads.
        seed: Where its chance comes from; None is the system.
        most_tokens: It has to end within so many, the end of speech among them.
    """

    number: int
    request: LaidOutRequest
    seed: int | None
    most_tokens: int


@dataclass(eq=False, slots=True)
class RowUnderWay:
    """A row that is being spoken.

    Attributes:
        row: What was asked for.
        output: Where its samples leave.
        restarts: Whether its next chunk is the first of another attempt.
        error: What has gone wrong with it.
    """

    row: Row
    output: RowOutput
    restarts: bool
    error: GenerationFailedError | None = None

    def take(self, samples: NDArray[np.float32], *, is_sound: bool) -> Iterator[SpeechChunk]:
        """Pass on its next samples, unless there is something wrong with them."""
        if not is_sound:
            self.error = GenerationFailedError("the model's choices are not numbers")
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
        return SpeechChunk(self.row.number, samples, is_last, self.error, restarts)


class _Ending(Enum):
    OVER = auto()
    RAN_ON = auto()
    CANCELLED = auto()


class Batch:
    """Rows that are spoken together. A row that is over leaves, and costs nothing more.

    Args:
        rows: At least one.
        talker: Makes their frames.
        codec: Makes their frames sound.
        end_of_speech: The code that ends a row.

    Attributes:
        ran_on: The rows that found no end within their tokens, once `run` is through.
    """

    def __init__(
        self,
        rows: Sequence[RowUnderWay],
        talker: TalkerRows,
        codec: CodecStream,
        end_of_speech: int,
    ) -> None:
        self.ran_on: list[RowUnderWay] = []
        self._rows = list(rows)
        self._talker = talker
        self._codec = codec
        self._end_of_speech = end_of_speech
        self._frames: list[torch.Tensor] = []  # made, but not yet heard

    def run(self, is_cancelled: Callable[[int], bool]) -> Iterator[SpeechChunk]:
        """Speak until every row is over."""
        due = FIRST_FRAMES
        for tokens in count(1):
            first_codes = self._talker.choose_first_codes()
            leaving = self._leaving(first_codes.tolist(), tokens, is_cancelled)
            if leaving:
                yield from self._flush()
                yield from self._end(leaving)
                staying = [place for place in range(len(self._rows)) if place not in leaving]
                if not staying:
                    return
                self._keep(staying)
                first_codes = first_codes[staying]
            self._frames.append(self._talker.complete(first_codes))
            if len(self._frames) >= due:
                yield from self._flush()
                due = FRAMES

    def _leaving(
        self, first_codes: list[int], tokens: int, is_cancelled: Callable[[int], bool]
    ) -> dict[int, _Ending]:
        """Find the rows that are over now, by their place in the batch."""
        leaving = {}
        for place, (each, code) in enumerate(zip(self._rows, first_codes, strict=True)):
            if code == FAILED:
                each.error = GenerationFailedError("the model's choices are not numbers")
            if is_cancelled(each.row.number):
                leaving[place] = _Ending.CANCELLED
            elif code == self._end_of_speech or each.error is not None:
                leaving[place] = _Ending.OVER
            elif tokens >= each.row.most_tokens:
                leaving[place] = _Ending.RAN_ON
        return leaving

    def _flush(self) -> Iterator[SpeechChunk]:
        """Make the frames heard that are not yet."""
        if self._frames:
            samples, are_sound = self._decode(torch.stack(self._frames, dim=1))
            self._frames.clear()
            for each, wave, is_sound in zip(self._rows, samples, are_sound, strict=True):
                yield from each.take(wave, is_sound=is_sound)

    def _decode(self, codes: torch.Tensor) -> tuple[NDArray[np.float32], list[bool]]:
        """Turn codes into each row's samples, and tell which rows had only sound codes."""
        samples = self._codec.decode(codes.clamp(min=0))
        return samples.float().cpu().numpy(), (codes >= 0).all(dim=2).all(dim=1).tolist()

    def _end(self, leaving: dict[int, _Ending]) -> Iterator[SpeechChunk]:
        for place, ending in leaving.items():
            if ending is _Ending.OVER:
                yield self._rows[place].last_chunk()
            elif ending is _Ending.RAN_ON:
                self.ran_on.append(self._rows[place])

    def _keep(self, staying: list[int]) -> None:
        self._rows = [self._rows[place] for place in staying]
        self._talker.keep(staying)
        self._codec.keep(staying)
