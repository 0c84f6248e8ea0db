"""A decoder's step as a few recorded programs, each for a size that rows are rounded up to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from backend.engine.kv_cache import POSITIONS_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Hashable

Recorder = Callable[[Callable[[], None]], Callable[[], object] | None]
"""Turns a step into its replay, without any effect on what the step works on; gives None if it has
to be run each time."""


def rounded_rows(rows: int) -> int:
    """Round a number of rows up to a power of two."""
    return 1 << (rows - 1).bit_length()


def rounded_positions(positions: int) -> int:
    """Round a number of positions up to what memory grows by."""
    return -(-positions // POSITIONS_AT_ONCE) * POSITIONS_AT_ONCE


class ReplayedStep:
    """Records a step for each size when that is needed again.

    The first time it is run, because recording takes kernels and libraries that are loaded:
    https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs

    Args:
        recorder: Records it.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._sizes: set[tuple[int, int]] = set()
        self._replays: dict[tuple[int, int], Callable[[], object] | None] = {}
        self._layout: Hashable = None

    def __call__(
        self, step: Callable[[int, int], None], rows: int, positions: int, layout: Hashable
    ) -> None:
        """Do the work.

        Args:
            step: Does it for a number of rows and positions; the same each time. It is not kept: it
                belongs to who keeps this, whose memory is free as soon as nobody else holds it.
            rows: As `rounded_rows` gives it.
            positions: As `rounded_positions` gives it.
            layout: Differs once the memory that the step works on has moved.
        """
        if layout != self._layout:
            self._replays.clear()
            self._layout = layout
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
