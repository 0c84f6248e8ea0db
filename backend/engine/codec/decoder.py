"""Decodes codec frames to samples, piece by piece, with the same result as in one pass."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from backend.contract import REFERENCE_SAMPLE_RATE
from backend.engine.chunk_plan import MOST_FRAMES
from backend.engine.codec.graphs import capture_calls
from backend.engine.codec.processor import network_for
from backend.engine.codec.step import CodecStep
from backend.engine.codec.thread import Turns
from backend.engine.failures import is_context_lost
from backend.engine.transfers import HostSamples, SideStream, copied_to

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from backend.engine.codec.graphs import CodecGraphs, CodecSize
    from backend.engine.codec.network import CodecNetwork
    from backend.engine.cuda_graphs import Recorder

_CACHED_REFERENCES = 16
"""How many reference clips have their decoder state cached: 8 MB each with the published codec."""

_ROWS = 16


@dataclass(eq=False, slots=True)
class CodecRow:
    """A row that the codec has the state of.

    Attributes:
        slot: Where its state is.
    """

    slot: int


class CodecDecoder:
    """Decodes the speech of several rows, each of which has a slot of its own.

    For one thread, and for another one that calls `decode_patiently` alone.

    On a GPU, all of its work is on a stream of its own. So it does not hold up what else the GPU
    does, and its results are only of use on that stream, or once they were read.

    Args:
        decoder: The package's `Qwen3TTSTokenizerV2Decoder`.
        rows: The most rows at once.
        network: Computes what the decoder computes; None is the fastest for it.

    Attributes:
        step: Decodes frames, and owns the memory.
        graphs: Captured sizes of the step; None runs every call directly.
        frames_per_second: How many codec frames make a second of speech.
    """

    def __init__(
        self, decoder: Any, rows: int = _ROWS, network: CodecNetwork | None = None
    ) -> None:
        self._network = network or network_for(decoder)
        self.step = CodecStep(self._network, rows)
        self.graphs: CodecGraphs | None = None
        self.frames_per_second = REFERENCE_SAMPLE_RATE / self._network.frame_samples
        self._stream = SideStream(self._network.like.device)
        self._after_reference: OrderedDict[bytes, Tensor] = OrderedDict()
        self._free: list[int] = []
        self._rows: set[CodecRow] = set()
        self._turns = Turns()
        self.clear()

    def clear(self) -> None:
        """Free all slots. The rows that had them cannot be decoded any more."""
        self._rows.clear()
        self._free = list(range(self.step.rows))

    def capture(self, recorder: Recorder, sizes: Iterable[CodecSize]) -> str:
        """Capture calls of some sizes, while no row has a slot; say which were, or why none.

        Raises what ends this process' use of the GPU.
        """
        with self._stream.launching(self.step.states):
            try:
                graphs = capture_calls(self.step, recorder, sizes)
            except Exception as error:  # without graphs, speech is slower but works
                if is_context_lost(error):
                    raise
                self.step.clear()
                return f"capturing failed with {type(error).__name__}"
        self.graphs = graphs if graphs.replays else None
        return str(graphs)

    @torch.inference_mode()
    def open(self, reference: Tensor, name: bytes | None = None) -> CodecRow:
        """Give a slot to a row, whose speech follows its reference clip.

        The states after recent references are cached. So a text of several sentences decodes its
        reference once.

        Args:
            reference: The clip's frames, int64 `(frames, code_groups)`, in the program's memory;
                possibly no frames.
            name: The same frames as int16 bytes, if they are at hand.

        Raises RuntimeError if all slots are in use.
        """
        if not self._free:
            raise RuntimeError(f"the codec's {self.step.rows} slots are in use")
        key = reference.to(torch.int16).cpu().numpy().tobytes() if name is None else name
        with self._turns.take(is_urgent=True), self._stream.launching():
            state = self._after_reference.pop(key, None)
            if state is None:
                codes = copied_to(self._network.like.device, reference)
                state = self._network.after_reference(codes)[0]
            self._after_reference[key] = state
            if len(self._after_reference) > _CACHED_REFERENCES:
                self._after_reference.popitem(last=False)
            self.step.fill(self._free[-1], state, frames=len(reference))
        row = CodecRow(self._free.pop())
        self._rows.add(row)
        return row

    def close(self, row: CodecRow) -> None:
        """Free the slot of a row. Calls that were begun for it are completed."""
        if row in self._rows:
            self._rows.remove(row)
            self._free.append(row.slot)

    @torch.inference_mode()
    def decode(self, rows: Sequence[CodecRow], codes: Tensor) -> Tensor:
        """Decode the next frames of several rows together.

        Args:
            rows: From `open`.
            codes: int64 `(rows, frames, code_groups)`; below 0 where the model failed. If memory
                runs out, nothing has changed, unless there are more than `MOST_FRAMES` frames.

        Returns:
            `(rows, samples)`, in [-1, 1]. If a frame of a row has failed, some are not numbers.

        Raises RuntimeError if a row has no slot any more.
        """
        if not self._rows.issuperset(rows):
            raise RuntimeError("the slot of a row has been freed")
        with self._turns.take(is_urgent=True):
            return self._decode(rows, codes)

    @torch.inference_mode()
    def decode_patiently(self, rows: Sequence[CodecRow], codes: Tensor) -> Tensor:
        """Decode in another thread than the codec's own, when that does not use the codec.

        Arguments and results are those of `decode`. The samples of rows whose slots have been freed
        are zero.
        """
        with self._turns.take(is_urgent=False):
            kept = [index for index, row in enumerate(rows) if row in self._rows]
            frame = self._network.frame_samples
            samples = self._network.like.new_zeros(len(rows), codes.shape[1] * frame)
            if kept:
                samples[kept] = self._decode([rows[index] for index in kept], codes[kept])
            return samples

    def _decode(self, rows: Sequence[CodecRow], codes: Tensor) -> Tensor:
        slots, frames = [row.slot for row in rows], codes.shape[1]
        with self._stream.launching(codes):
            length = self._network.frame_samples
            samples = self._network.like.new_empty(len(rows), frames * length)
            start = 0
            for size in self._pieces(len(rows), frames):
                end = start + size
                self._decode_piece(
                    slots, codes[:, start:end], samples[:, start * length : end * length]
                )
                start = end
        return samples

    def begin_reading(self, samples: Tensor) -> HostSamples:
        """Begin to copy what `decode` has returned to the program's memory."""
        with self._stream.launching():
            return HostSamples(samples)

    def _pieces(self, rows: int, frames: int) -> list[int]:
        """Return how many frames to decode at a time: those that were captured, if they add up."""
        if self.graphs and (pieces := self.graphs.pieces(rows, frames)):
            return pieces
        whole, rest = divmod(frames, MOST_FRAMES)
        return [MOST_FRAMES] * whole + ([rest] if rest else [])

    def _decode_piece(self, slots: Sequence[int], codes: Tensor, samples: Tensor) -> None:
        step, (count, frames, _) = self.step, codes.shape
        size = self.graphs and self.graphs.size_for(count, frames)
        rows = size.rows if size else count
        step.choose(slots, rows)
        step.codes[:count, :frames] = codes
        if rows > count:
            step.codes[count:rows, :frames] = 0
        if self.graphs and size:
            self.graphs.replay(size)
        else:
            step.run(rows, frames)
        samples.copy_(step.samples(rows, frames)[:count])
