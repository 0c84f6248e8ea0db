"""A decoder's step as a few recorded programs, each for a size that rows are rounded up to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from backend.engine.key_values import POSITIONS_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Hashable

Recorder = Callable[[Callable[[], None]], Callable[[], object]]
"""Turns a step into its replay, without any effect on what the step works on."""


def rounded_rows(rows: int) -> int:
    """Round a number of rows up to a power of two."""
    return 1 << (rows - 1).bit_length()


def rounded_positions(positions: int) -> int:
    """Round a number of positions up to what memory grows by."""
    return -(-positions // POSITIONS_AT_ONCE) * POSITIONS_AT_ONCE


class ReplayedStep:
    """Records a step for each size when that is first needed.

    Args:
        step: Does the work for a number of rows and positions.
        recorder: Records it.
    """

    def __init__(self, step: Callable[[int, int], None], recorder: Recorder) -> None:
        self._step = step
        self._recorder = recorder
        self._replays: dict[tuple[int, int], Callable[[], object]] = {}
        self._layout: Hashable = None

    def __call__(self, rows: int, positions: int, layout: Hashable) -> None:
        """Do the work.

        Args:
            rows: As `rounded_rows` gives it.
            positions: As `rounded_positions` gives it.
            layout: Differs once the memory that the step works on has moved.
        """
        if layout != self._layout:
            self._replays.clear()
            self._layout = layout
        size = rows, positions
        if size not in self._replays:
            self._replays[size] = self._recorder(partial(self._step, *size))
        self._replays[size]()
