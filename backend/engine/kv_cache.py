"""The KV cache of the talker's layers, in preallocated memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

POSITION_STEP = 256
"""Room is allocated in multiples of this many positions, which are 20 s of speech."""

MAX_USEFUL_ROWS = 16
"""With more rows than this, a GPU gains little and each row's speech becomes slow."""

_LONG_ROW = 2_880
"""The positions of memory for one long row. While the cache grows from 1,152 to 1,728 positions,
the old and the new memory exist at once. It is room for a long reference and 80 s of speech."""

_MEMORY_SHARE = 0.8  # of a GPU's free memory; the codec and the activations need the rest
_GROWTH = 1.5  # the least growth factor, so that even the longest sentence reallocates rarely


@dataclass(frozen=True, slots=True)
class PrefillView:
    """One layer's cache, with the same new positions for all rows: from `start` to `end`.

    Attributes:
        keys: `(rows, key_heads, positions, head_dim)`.
        values: The same.
        start: The first new position.
        end: The position after the last new one.
    """

    keys: Tensor
    values: Tensor
    start: int
    end: int

    def update(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values; return all up to `end`."""
        self.keys.narrow(2, self.start, self.end - self.start).copy_(keys)
        self.values.narrow(2, self.start, self.end - self.start).copy_(values)
        return self.keys.narrow(2, 0, self.end), self.values.narrow(2, 0, self.end)


@dataclass(frozen=True, slots=True)
class DecodeView:
    """One layer's cache, with one new position for each row, which differs between rows.

    Attributes:
        keys: As in `PrefillView`.
        values: As in `PrefillView`.
        positions: int64 `(rows, key_heads, 1, head_dim)`, each row's new position.
        end: The position after the last one of the longest row.
    """

    keys: Tensor
    values: Tensor
    positions: Tensor
    end: int

    def update(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values; return all up to `end`."""
        self.keys.scatter_(2, self.positions, keys)
        self.values.scatter_(2, self.positions, values)
        return self.keys.narrow(2, 0, self.end), self.values.narrow(2, 0, self.end)


class KVCache:
    """The keys and values of all rows, in all layers.

    Unused entries are zeros: attention multiplies masked positions by zero, and a NaN would survive
    that.

    Args:
        layers: How many layers there are.
        key_heads: The number of key heads.
        head_dim: The length of a key.
        like: A tensor with the cache's dtype and device.

    Attributes:
        reallocations: How often the cache has grown, which moves it in memory.
    """

    def __init__(self, layers: int, key_heads: int, head_dim: int, like: Tensor) -> None:
        self._memory = like.new_empty(layers, 2, 0, key_heads, 0, head_dim)
        self.reallocations = 0

    @property
    def positions(self) -> int:
        """How many positions fit in a row."""
        return self._memory.shape[4]

    def fitting_rows(self, free_bytes: int) -> int:
        """Return how many rows with long sentences fit into a GPU's memory.

        Args:
            free_bytes: The GPU's free memory.

        Returns:
            A power of two, like the batch sizes that CUDA graphs are recorded for; at most
            `MAX_USEFUL_ROWS`.
        """
        layers, both, _, key_heads, _, head_dim = self._memory.shape
        position = layers * both * key_heads * head_dim * self._memory.element_size()
        fitting = int(_MEMORY_SHARE * free_bytes / (_LONG_ROW * position))
        return min(MAX_USEFUL_ROWS, 1 << max(0, fitting.bit_length() - 1))

    def reserve(self, rows: int, positions: int) -> None:
        """Make room for this many rows and positions. Cached keys and values are kept."""
        _, _, old_rows, _, old_positions, _ = self._memory.shape
        if rows <= old_rows and positions <= old_positions:
            return
        shape = list(self._memory.shape)
        shape[2] = max(rows, old_rows)
        if positions > old_positions:
            wanted = max(positions, int(_GROWTH * old_positions))
            shape[4] = -(-wanted // POSITION_STEP) * POSITION_STEP
        grown = self._memory.new_zeros(shape)
        grown[:, :, :old_rows, :, :old_positions] = self._memory
        self._memory = grown
        self.reallocations += 1

    def move(self, source: int, target: int, positions: int) -> None:
        """Move a row's positions to an empty row."""
        if positions == 0:  # there may be no such row yet
            return
        self._memory[:, :, target, :, :positions] = self._memory[:, :, source, :, :positions]
        self.clear(source)

    def clear(self, row: int) -> None:
        """Make a row empty."""
        self._memory[:, :, row] = 0

    def prefill_views(self, row: int, start: int, end: int) -> list[PrefillView]:
        """Return one view for each layer, for several new positions of one row."""
        return [
            PrefillView(keys, values, start, end)
            for keys, values in self._memory[:, :, row : row + 1]
        ]

    def decode_views(self, lengths: Tensor, end: int) -> list[DecodeView]:
        """Return one view for each layer, for one new position in each of the first rows.

        Args:
            lengths: int64 `(rows,)`, how many positions each row has.
            end: More than the longest length.
        """
        _, _, _, key_heads, _, head_dim = self._memory.shape
        positions = lengths.view(-1, 1, 1, 1).expand(-1, key_heads, 1, head_dim)
        return [
            DecodeView(keys, values, positions, end)
            for keys, values in self._memory[:, :, : len(lengths)]
        ]
