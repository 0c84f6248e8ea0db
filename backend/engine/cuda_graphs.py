"""Steps that are captured as CUDA graphs before anybody speaks, and replayed.

A frame is some 2,000 small kernels. To launch them one by one from Python takes tens of
milliseconds, most of the 80 ms that a frame may take. To replay a CUDA graph takes a few
microseconds. A graph fixes addresses and sizes. So the memory of a step never moves, and there is a
graph for each usual size. Other sizes are run on the next larger one, and what is too much of it is
computed too. No graph is captured while somebody listens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import torch

from backend.engine.failures import is_context_lost

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

Recorder = Callable[[Callable[[], None]], Callable[[], object]]
"""Records a step without running it. Returns a function that replays the step."""

_TOLERANCE = 0.02  # of the largest number in the states: a few rounding errors of bfloat16
_NAMED_FAILURES = 3

log = logging.getLogger(__name__)


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


def usual_rows(rows: int) -> list[int]:
    """List the numbers of rows to capture: powers of two, and the most rows, which are given."""
    powers = [1 << exponent for exponent in range(rows.bit_length())]
    return [*(each for each in powers if each < rows), rows]


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
