"""A recorder of steps without a GPU: it notes every operation, and does them again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from backend.engine.codec.step import CodecStep
from backend.engine.cuda_graphs import Size
from backend.engine.prefill_step import PrefillStep
from tests.backend.engine.tape import Tape

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import torch

    from backend.engine.decode_step import DecodeStep

SizeT = TypeVar("SizeT", bound=Size)


class Recorder(Generic[SizeT]):
    """Records steps, and refuses what would not work on a GPU.

    Args:
        step: The step whose sizes are captured.
        size: Makes a size of what the step is run with.
        fails_at: The sizes that cannot be captured.
        distorts: The sizes whose replay forgets what it has cached.

    Attributes:
        run: The sizes that were run directly, in order.
        captured: The sizes that were captured, in order.
        replayed: The sizes that were replayed, in order.
        operations: How many operations each captured size has, without those that only view memory
            or allocate it.
    """

    def __init__(
        self,
        step: DecodeStep | PrefillStep | CodecStep,
        size: Callable[..., SizeT],
        *,
        fails_at: Collection[SizeT] = (),
        distorts: Collection[SizeT] = (),
        error: Exception | None = None,
    ) -> None:
        self.run: list[SizeT] = []
        self.captured: list[SizeT] = []
        self.replayed: list[SizeT] = []
        self.operations: dict[SizeT, int] = {}
        self._size = size
        self._fails_at = fails_at
        self._distorts = distorts
        self._error = error or RuntimeError("operation not permitted when stream is capturing")
        self._memory = _memory_of(step)
        self._places = [each.data_ptr() for each in self._memory]
        self._step = step
        self._run = step.run
        step.run = self._noted  # type: ignore[assignment, method-assign]

    def __call__(self, step: Any) -> Callable[[], None]:
        size = self._size(*step.args)
        assert size in self.run, "its kernels were not loaded before"
        self._check_places()
        if size in self._fails_at:
            raise self._error
        kept = [each.clone() for each in self._memory]
        tape = Tape()
        with tape:
            self._run(*step.args)
        tape.close()
        for each, value in zip(self._memory, kept, strict=True):  # it is captured, not run
            each.copy_(value)
        self.captured.append(size)
        self.operations[size] = tape.kernels

        def replay() -> None:
            self._check_places()
            self.replayed.append(size)
            tape.replay()
            if size in self._distorts:
                for each in _kept_by(self._step):
                    each.zero_()

        return replay

    def _noted(self, *args: int) -> None:
        self.run.append(self._size(*args))
        self._run(*args)

    def _check_places(self) -> None:
        places = [each.data_ptr() for each in _memory_of(self._step)]
        assert places == self._places, "memory has moved"


def _memory_of(step: DecodeStep | PrefillStep | CodecStep) -> list[torch.Tensor]:
    """All that a step works on."""
    if isinstance(step, CodecStep):
        samples = step.samples(step.rows, 1)
        return [*_kept_by(step), step.frames, step.slots, step.codes, samples]
    if isinstance(step, PrefillStep):
        return [*_kept_by(step), step.inputs, step.slots, step.states]
    state = step.state
    counts = [state.lengths, state.frames, state.text_lengths, state.codebook0]
    others = [state.codes, state.hidden, state.seen, state.uniforms, state.text]
    return [*_kept_by(step), *counts, *others]


def _kept_by(step: DecodeStep | PrefillStep | CodecStep) -> list[torch.Tensor]:
    """What a step keeps of the frames before: of a talker, the keys and values of each layer."""
    if isinstance(step, CodecStep):
        return [step.states]
    if isinstance(step, PrefillStep):
        slots = step.cache.slot_views(step.slots, step.cache.positions)
        return [each for view in slots for each in (view.keys, view.values)]
    views = step.cache.decode_views(step.state.lengths, end=1)
    return [each for view in views for each in (view.keys, view.values)]
