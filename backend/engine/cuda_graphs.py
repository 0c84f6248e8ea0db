"""The batch's decode step, recorded once as a CUDA graph and replayed.

A frame is some 2,000 small kernels. Launched one by one from Python they take tens of milliseconds,
most of the 80 that a frame may take; replayed from a CUDA graph they take a few microseconds. A
graph fixes addresses and sizes. So there is one for each number of rows and positions, both rounded
up, and slots without a row are computed too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch

from backend.engine.kv_cache import POSITION_STEP

if TYPE_CHECKING:
    from collections.abc import Hashable

    from torch import Tensor

Recorder = Callable[[Callable[[], None]], Callable[[], object] | None]
"""Turns a step into its replay, without changing what the step works on. Returns None if the step
has to be run each time."""

_TOLERANCE = 0.02  # of the largest number in the states: some roundings in bfloat16

log = logging.getLogger(__name__)


def rounded_rows(rows: int) -> int:
    """Round a number of rows up to a power of two."""
    return 1 << (rows - 1).bit_length()


def rounded_positions(positions: int) -> int:
    """Round a number of positions up to what the KV cache grows by."""
    return -(-positions // POSITION_STEP) * POSITION_STEP


class StepGraphs:
    """The recorded steps of one batch, one for each size.

    A step is recorded when its size is needed for the second time. The first time it is run,
    because only kernels and libraries that are loaded can be recorded:
    https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs

    Args:
        recorder: Records the steps.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._sizes: set[tuple[int, int]] = set()
        self._replays: dict[tuple[int, int], Callable[[], object] | None] = {}
        self._memory_version: Hashable = None

    def run(
        self, step: Callable[[int, int], None], rows: int, positions: int, memory_version: Hashable
    ) -> None:
        """Run a step, or replay it.

        Args:
            step: Runs for a number of rows and positions; the same function each time. It is not
                kept here, so that the batch that it belongs to is freed with its last reference.
            rows: From `rounded_rows`.
            positions: From `rounded_positions`.
            memory_version: Changes when the memory that the step works on has moved.
        """
        if memory_version != self._memory_version:
            self._replays.clear()
            self._memory_version = memory_version
        size = rows, positions
        if size not in self._sizes:
            self._sizes.add(size)
            step(*size)
            return
        if size not in self._replays:
            self._replays[size] = self._recorder(partial(step, *size))
        replay = self._replays[size]
        if replay is None:
            step(*size)
        else:
            replay()


class CudaGraphRecorder:
    """Records steps, without running them, as CUDA graphs that share their working memory.

    They may share it because they run one after the other, and leave their results elsewhere.
    """

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, step: Callable[[], None]) -> Callable[[], None]:
        """Record a step that has been run before, so that its kernels are loaded."""
        graph = torch.cuda.CUDAGraph()
        # By default, whatever another thread asks of the GPU meanwhile would spoil the recording:
        # https://docs.pytorch.org/docs/stable/generated/torch.cuda.graph.html
        recording = torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local")
        # Recording switches to another stream, and does not switch back if it fails.
        with torch.cuda.stream(torch.cuda.current_stream()), recording:
            step()
        return graph.replay


def checked_recorder(
    recorder: Recorder, trial: Callable[[Recorder], Tensor]
) -> tuple[Recorder | None, str]:
    """Return a recorder if what it replays is what the step does when it is run.

    Args:
        recorder: The recorder to check.
        trial: Decodes a few frames with a recorder, and returns the hidden states.

    Returns:
        The recorder, with a fallback: a step that it cannot record later is run instead. Or None:
        then every step is run, which is slower. And the reason.
    """
    try:
        expected = trial(lambda _step: None)  # nothing is recorded, so every step is run
        replayed = trial(recorder)
    except Exception as error:  # noqa: BLE001 - whatever a driver does not like, speech goes on
        return None, f"recording failed with {type(error).__name__}"
    difference = (replayed - expected).abs().max() / expected.abs().max()
    reason = f"replayed states differ by {difference:.2g}"
    if not difference <= _TOLERANCE:  # which holds for NaN too
        return None, reason
    return _with_fallback(recorder), reason


def _with_fallback(recorder: Recorder) -> Recorder:
    def record(step: Callable[[], None]) -> Callable[[], object] | None:
        try:
            return recorder(step)
        except Exception as error:  # noqa: BLE001 - as above
            log.warning("a step was not recorded (%s), and is run instead", type(error).__name__)
            return None

    return record
