"""A recorder of decode steps without a GPU: it traces every operation, and replays the trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.fx.experimental.proxy_tensor import make_fx

from backend.engine.cuda_graphs import StepSize

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import torch

    from backend.engine.decode_step import DecodeStep


class Recorder:
    """Traces steps, and refuses what would not work on a GPU.

    Args:
        step: The step whose sizes are captured.
        fails_at: The sizes that cannot be captured.
        distorts: The sizes whose replay forgets what it has cached.

    Attributes:
        run: The sizes that were run directly, in order.
        captured: The sizes that were captured, in order.
        replayed: The sizes that were replayed, in order.
    """

    def __init__(
        self,
        step: DecodeStep,
        *,
        fails_at: Collection[StepSize] = (),
        distorts: Collection[StepSize] = (),
        error: Exception | None = None,
    ) -> None:
        self.run: list[StepSize] = []
        self.captured: list[StepSize] = []
        self.replayed: list[StepSize] = []
        self._fails_at = fails_at
        self._distorts = distorts
        self._error = error or RuntimeError("operation not permitted when stream is capturing")
        self._memory = _memory_of(step)
        self._places = [each.data_ptr() for each in self._memory]
        self._step = step
        self._run = step.run
        step.run = self._noted  # type: ignore[method-assign]

    def __call__(self, step: Any) -> Callable[[], None]:
        size = StepSize(*step.args)
        assert size in self.run, "its kernels were not loaded before"
        self._check_places()
        if size in self._fails_at:
            raise self._error
        kept = [each.clone() for each in self._memory]
        program = make_fx(lambda: self._run(size.rows, size.positions))()
        for each, value in zip(self._memory, kept, strict=True):  # it is captured, not run
            each.copy_(value)
        self.captured.append(size)

        def replay() -> None:
            self._check_places()
            self.replayed.append(size)
            program()
            if size in self._distorts:
                for each in self._memory[: 2 * _layers(self._step)]:
                    each.zero_()

        return replay

    def _noted(self, rows: int, end: int) -> None:
        self.run.append(StepSize(rows, end))
        self._run(rows, end)

    def _check_places(self) -> None:
        places = [each.data_ptr() for each in _memory_of(self._step)]
        assert places == self._places, "memory has moved"


def _memory_of(step: DecodeStep) -> list[torch.Tensor]:
    """The keys and values of each layer, and what each row has besides."""
    state = step.state
    views = step.cache.decode_views(state.lengths, end=1)
    cached = [each for view in views for each in (view.keys, view.values)]
    counts = [state.lengths, state.frames, state.text_lengths, state.codebook0]
    return [*cached, *counts, state.codes, state.hidden, state.seen, state.uniforms, state.text]


def _layers(step: DecodeStep) -> int:
    return len(step.cache.decode_views(step.state.lengths, end=1))
