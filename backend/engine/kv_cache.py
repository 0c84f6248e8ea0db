"""The KV cache of the talker's layers. Its size is fixed, so nothing in it ever moves."""

from __future__ import annotations

import math
import mmap
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from backend.contract import MAX_NEW_TOKENS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

PROMPT_POSITIONS = 2_048
"""Room for the longest prompt: a reference clip of 30 s has 381 frames, its transcript at most
1,000 characters and the text 600, of which each is one token at the most in nearly all writing."""

ROW_POSITIONS = PROMPT_POSITIONS + MAX_NEW_TOKENS
"""How many positions each row has room for: the longest prompt, and the longest speech after it."""


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
class SlotView:
    """One layer's cache, with the first positions of some rows that are chosen on the device.

    Attributes:
        keys: As in `PrefillView`, of all rows, and as many positions as are new.
        values: The same.
        slots: int64 `(new rows,)`, the rows. A row may be among them twice, with the same content.
    """

    keys: Tensor
    values: Tensor
    slots: Tensor

    def update(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values; return them, since there are none before them."""
        self.keys.index_copy_(0, self.slots, keys)
        self.values.index_copy_(0, self.slots, values)
        return keys, values


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


@dataclass(frozen=True, slots=True)
class CacheShape:
    """What the keys and values of a row are.

    Attributes:
        layers: How many layers there are.
        key_heads: The number of key heads.
        head_dim: The length of a key.
        dtype: What a number is.
    """

    layers: int
    key_heads: int
    head_dim: int
    dtype: torch.dtype

    def row_bytes(self, positions: int = ROW_POSITIONS) -> int:
        """Return the memory that a row takes."""
        numbers = self.layers * 2 * self.key_heads * positions * self.head_dim
        return numbers * self.dtype.itemsize


class KVCache:
    """The keys and values of all rows, in all layers.

    Unused entries are zeros: attention multiplies masked positions by zero, and a NaN would survive
    that. A row's entries are cleared when it ends, as far as it has used them.

    Args:
        shape: What the keys and values of a row are.
        rows: How many rows there is room for.
        positions: How many positions each has room for.
        device: Where the memory is.

    Attributes:
        rows: As given.
        positions: As given.
    """

    def __init__(
        self, shape: CacheShape, *, rows: int, positions: int, device: torch.device
    ) -> None:
        self.rows = rows
        self.positions = positions
        sizes = (shape.layers, 2, rows, shape.key_heads, positions, shape.head_dim)
        self._memory = unused_zeros(sizes, shape.dtype, device)
        self._used = [0] * rows

    def use(self, row: int, positions: int) -> None:
        """Note that the first positions of a row may be written to from now on."""
        self._used[row] = max(self._used[row], positions)

    def move(self, source: int, target: int) -> None:
        """Move what a row has cached to an empty row."""
        used = self._used[source]
        self._memory[:, :, target, :, :used] = self._memory[:, :, source, :, :used]
        self.use(target, used)
        self.clear(source)

    def clear(self, row: int) -> None:
        """Make a row empty."""
        self._memory[:, :, row, :, : self._used[row]] = 0
        self._used[row] = 0

    def prefill_views(self, row: int, start: int, end: int) -> list[PrefillView]:
        """Return one view for each layer, for several new positions of one row."""
        return [
            PrefillView(keys, values, start, end)
            for keys, values in self._memory[:, :, row : row + 1]
        ]

    def slot_views(self, slots: Tensor, end: int) -> list[SlotView]:
        """Return one view for each layer, for the first positions of some rows.

        Args:
            slots: int64 `(new rows,)`, the rows.
            end: How many positions.
        """
        return [SlotView(keys, values, slots) for keys, values in self._memory[:, :, :, :, :end]]

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


def unused_zeros(sizes: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Allocate zeros of which most may never be used.

    A GPU's memory is set aside at once. On a CPU, a page takes memory only once it is written to.
    """
    if device.type != "cpu":
        return torch.zeros(tuple(sizes), dtype=dtype, device=device)
    # `torch.zeros` writes all the zeros, and numpy asks for huge pages, of which each row's few
    # used positions would take many.
    size = max(1, math.prod(sizes)) * dtype.itemsize
    if sys.platform == "win32":
        pages = mmap.mmap(-1, size)
    else:
        pages = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        pages.madvise(mmap.MADV_NOHUGEPAGE)
    return torch.frombuffer(pages, dtype=dtype)[: math.prod(sizes)].view(tuple(sizes))
