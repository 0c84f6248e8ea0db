"""The decode step of the usual sizes, captured as CUDA graphs before anybody speaks.

A frame is some 2,000 small kernels. To launch them one by one from Python takes tens of
milliseconds, most of the 80 ms that a frame may take. To replay a CUDA graph takes a few
microseconds. A graph fixes addresses and sizes. So the memory of a step never moves, and there is a
graph for each usual number of rows and positions. Other sizes are run on the next larger one, and
slots without a row are computed too. No graph is captured while somebody listens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import torch

from backend.engine.failures import is_context_lost
from backend.engine.prompt_embeds import PreparedRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from backend.engine.decode_step import DecodeStep

Recorder = Callable[[Callable[[], None]], Callable[[], object]]
"""Records a step without running it. Returns a function that replays the step."""

USUAL_POSITIONS = (512, 768, 1_024, 1_536, 2_048)
"""A reference clip of 15 s, a sentence and ten seconds of speech have some 400 positions."""

_TOLERANCE = 0.02  # of the largest number in the states: a few rounding errors of bfloat16
_TRIAL_POSITIONS = 10
_TRIAL_FRAMES = 2  # the second reads what the first has cached
_NAMED_FAILURES = 3

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, order=True)
class StepSize:
    """What a step is captured for.

    Attributes:
        rows: The first rows of the batch.
        positions: More than the length of the longest of them.
    """

    rows: int
    positions: int

    def __str__(self) -> str:
        return f"{self.rows} by {self.positions}"


def usual_sizes(rows: int, positions: int) -> list[StepSize]:
    """List the sizes to capture: powers of two as rows, and the usual positions.

    Args:
        rows: The most rows, which are among the sizes.
        positions: The most positions, likewise.
    """
    powers = [1 << exponent for exponent in range(rows.bit_length())]
    return [
        StepSize(few, length)
        for few in [*(each for each in powers if each < rows), rows]
        for length in [*(each for each in USUAL_POSITIONS if each < positions), positions]
    ]


class Size(Protocol):
    """What a step is captured for. Sizes can be sorted.

    Attributes:
        rows: How many rows.
    """

    @property
    def rows(self) -> int:
        """As above."""

    def __lt__(self, other: Any, /) -> bool:
        """Return whether this size comes first."""


SizeT = TypeVar("SizeT", bound=Size)


@dataclass
class Graphs(Generic[SizeT]):
    """The captured sizes of a step.

    Attributes:
        recorder: What they were captured with. It owns the memory that they share.
        replays: What replays the step of each size.
        failures: Why each other size was not captured.
        difference: The largest difference between results that were replayed and run, as a part of
            the largest number in them.
    """

    recorder: Recorder
    replays: dict[SizeT, Callable[[], object]] = field(default_factory=dict)
    failures: dict[SizeT, str] = field(default_factory=dict)
    difference: float = 0.0

    def replay(self, size: SizeT) -> None:
        """Replay the step of a captured size."""
        self.replays[size]()

    def capture(
        self,
        sizes: Iterable[SizeT],
        step: Callable[[SizeT], Callable[[], None]],
        results: Callable[[SizeT, Callable[[], object]], Tensor],
    ) -> None:
        """Capture a step in some sizes, each after it was run.

        A size is left out if it cannot be captured, or if its replay has other results.

        Args:
            sizes: The sizes.
            step: Returns the step of a size.
            results: Does something from the start with the step of a size, which may be replayed;
                returns the results, as float32.

        Raises what the step raises when it is run, and what ends this process' use of the GPU.
        """
        # Large ones first, so that the small ones need no memory besides.
        ordered = sorted(sizes, reverse=True)
        for number, size in enumerate(ordered, start=1):
            expected = results(size, step(size))
            try:
                replay = self.recorder(step(size))
                replayed = results(size, replay)
            except Exception as error:  # such a size is slower, but works
                if is_context_lost(error):
                    raise
                self.failures[size] = type(error).__name__
            else:
                difference = float((replayed - expected).abs().max() / expected.abs().max())
                if difference <= _TOLERANCE:  # which does not hold for NaN
                    self.replays[size] = replay
                    self.difference = max(self.difference, difference)
                else:
                    self.failures[size] = f"states differ by {difference:.2g}"
            if size in self.failures:
                log.warning("the step of %s is not a graph: %s", size, self.failures[size])
            if number == len(ordered) or ordered[number].rows != size.rows:
                log.info("CUDA graphs: %d of %d sizes done", number, len(ordered))

    def __str__(self) -> str:
        count = len(self.replays) + len(self.failures)
        told = f"{len(self.replays)} of {count} sizes captured"
        if self.replays:
            told += f", states differ by at most {self.difference:.2g}"
        if self.failures:
            named = [f"{size}: {why}" for size, why in sorted(self.failures.items())]
            others = len(named) - _NAMED_FAILURES
            named[_NAMED_FAILURES:] = [f"and {others} more"] if others > 0 else []
            told += f"; not captured: {', '.join(named)}"
        return told


class StepGraphs(Graphs[StepSize]):
    """The captured sizes of one `DecodeStep`."""

    def size_for(self, rows: int, end: int) -> StepSize | None:
        """Return the smallest captured size with so many rows and positions; None without one."""
        fitting = (each for each in self.replays if each.rows >= rows and each.positions >= end)
        return min(fitting, default=None)


@torch.inference_mode()
def capture_steps(step: DecodeStep, recorder: Recorder, sizes: Iterable[StepSize]) -> StepGraphs:
    """Capture a decode step in some sizes. Takes some tenths of a second for each.

    Args:
        step: The step, which no batch uses at the moment. All its rows are empty afterwards.
        recorder: Captures it.
        sizes: The sizes.

    Raises what `Graphs.capture` raises.
    """
    graphs = StepGraphs(recorder)
    graphs.capture(
        sizes, lambda size: partial(step.run, size.rows, size.positions), _Trial(step).states
    )
    step.clear()
    return graphs


class _Trial:
    """Rows of noise in every slot of a step, to be decoded again and again.

    Args:
        step: The step.
    """

    def __init__(self, step: DecodeStep) -> None:
        self._step = step
        random = torch.Generator().manual_seed(0)
        like = step.state.hidden
        for slot in range(step.rows):
            noise = torch.randn(_TRIAL_POSITIONS, like.shape[1], generator=random).to(like)
            codes = torch.zeros(0, step.code_groups, dtype=torch.long, device=like.device)
            request = PreparedRequest(noise, noise[:0], codes, 1, _TRIAL_FRAMES + 1, seed=slot)
            hidden = step.prefill(noise, slot, start=0)
            step.start(slot, request, step.draw(request, attempt=0).result(), hidden)
            step.cache.use(slot, _TRIAL_POSITIONS + _TRIAL_FRAMES)
        self._start = step.state.saved()

    def states(self, size: StepSize, run: Callable[[], object]) -> Tensor:
        """Decode a few frames from the start; return the first rows' states, as float32."""
        self._step.state.restore(self._start)
        states = []
        for _ in range(_TRIAL_FRAMES):
            run()
            states.append(self._step.state.hidden[: size.rows].float())
        return torch.cat(states)


class CudaGraphRecorder:
    """Records steps as CUDA graphs that share their working memory, without running them.

    Sharing is safe because the graphs run one after the other, and their results are outside of it.
    What may run at the same time needs another recorder.

    Args:
        is_urgent: Whether kernels of these graphs go before those of others that could run at the
            same time. A kernel keeps the priority of the stream that it was recorded on, because
            torch instantiates graphs with `cudaGraphInstantiateFlagUseNodePriority`:
            `aten/src/ATen/cuda/CUDAGraph.cpp`.
    """

    def __init__(self, *, is_urgent: bool) -> None:
        priority = -1 if is_urgent else 0
        self._stream: torch.cuda.Stream = torch.cuda.Stream(priority=priority)  # type: ignore[no-untyped-call]
        self._pool: Any = None
        self._kept: list[object] = []

    def __call__(self, step: Callable[[], None]) -> Callable[[], None]:
        """Record a step. It must have been run before, so that its kernels are loaded.

        Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
        """
        if self._pool is None:
            self._open_pool()
        try:
            return self._record(step)
        except BaseException:
            # If a recording is broken off, torch's allocator goes on counting it as under way, and
            # refuses the same pool for another: `CUDAGraph::capture_end` in torch 2.9.1.
            self._pool = None
            raise

    def _open_pool(self) -> None:
        """Begin a pool of memory, with a graph that stays in it.

        Without a graph, the pool would end, but cuBLAS keeps its workspace there. The next
        recording would then fail with "use_count > 0 INTERNAL ASSERT" (torch 2.9.1):
        https://github.com/vllm-project/vllm/issues/28426. `torch._inductor.cudagraph_trees` keeps
        such a graph too.
        """
        self._pool = torch.cuda.graph_pool_handle()
        anything = torch.zeros(1, device=self._stream.device)
        self._kept.append((anything, self._record(anything.zero_)))

    def _record(self, step: Callable[[], object]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        # All graphs are recorded on one stream, because the allocator gives memory of a pool back
        # only to the stream that it came from. By default, some GPU calls of other threads would
        # make the recording fail:
        # https://docs.pytorch.org/docs/stable/generated/torch.cuda.graph.html
        recording = torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        )
        # Recording switches to another stream, and does not switch back if it fails.
        with torch.cuda.stream(torch.cuda.current_stream()), recording:
            step()
        return graph.replay
