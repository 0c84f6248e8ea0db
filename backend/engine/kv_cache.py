"""Keys and values that transformer layers remember, in memory that is laid out beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

POSITIONS_AT_ONCE = 256
"""Memory holds a multiple of so many positions, 20 s of speech."""

MOST_ROWS = 16
"""Rows beyond which a GPU gains little, and each one's speech gets slow."""

_LONG_ROW = 2_880
"""Positions that a row takes while memory grows from 1,152 to 1,728, which is room for a long
reference and 80 s of speech."""

_SHARE = 0.8  # of a GPU's free memory; the codec and the products of layers need some too
_GROWTH = 1.5  # at the least, so that the longest sentence has it grow a few times only


@dataclass(frozen=True, slots=True)
class Stretch:
    """Where a layer remembers the positions from `start` to `end`, the same in every row.

    Attributes:
        keys: `(rows, key_heads, positions, head_dim)`.
        values: The same.
        start: The first new position.
        end: The position after the last new one.
    """

    keys: torch.Tensor
    values: torch.Tensor
    start: int
    end: int

    def remember(
        self, keys: torch.Tensor, values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Put in the new ones; give all up to the end."""
        self.keys.narrow(2, self.start, self.end - self.start).copy_(keys)
        self.values.narrow(2, self.start, self.end - self.start).copy_(values)
        return self.keys.narrow(2, 0, self.end), self.values.narrow(2, 0, self.end)


@dataclass(frozen=True, slots=True)
class OwnPlaces:
    """Where a layer remembers one new position of each row, which differs from row to row.

    Attributes:
        keys: As in `Stretch`.
        values: As in `Stretch`.
        places: int64 `(rows, key_heads, 1, head_dim)`, each row's new position.
        end: The position after the last of all rows.
    """

    keys: torch.Tensor
    values: torch.Tensor
    places: torch.Tensor
    end: int

    def remember(
        self, keys: torch.Tensor, values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Put in the new ones; give all up to the end."""
        self.keys.scatter_(2, self.places, keys)
        self.values.scatter_(2, self.places, values)
        return self.keys.narrow(2, 0, self.end), self.values.narrow(2, 0, self.end)


class KeyValues:
    """What the talker's layers remember of all rows.

    What nobody remembers is zeros: attention multiplies by zero what a row must not see, and what
    is not a number would survive that.

    Args:
        layers: How many layers there are.
        key_heads: The keys of a position.
        head_dim: The length of a key.
        like: Gives the memory its type and device.

    Attributes:
        growths: How often it has been laid out anew, which moves it.
    """

    def __init__(self, layers: int, key_heads: int, head_dim: int, like: torch.Tensor) -> None:
        self._memory = like.new_empty(layers, 2, 0, key_heads, 0, head_dim)
        self.growths = 0

    @property
    def positions(self) -> int:
        """How many positions of a row fit in."""
        return self._memory.shape[4]

    def fitting_rows(self, free_bytes: int) -> int:
        """Tell how many rows a GPU has room for, each as long as a long sentence makes it.

        Args:
            free_bytes: Its memory that nothing has taken.

        Returns:
            A power of two, as the rows that are replayed are rounded up to one; at the most
            `MOST_ROWS`.
        """
        layers, both, _, key_heads, _, head_dim = self._memory.shape
        position = layers * both * key_heads * head_dim * self._memory.element_size()
        fitting = int(_SHARE * free_bytes / (_LONG_ROW * position))
        return min(MOST_ROWS, 1 << max(0, fitting.bit_length() - 1))

    def reserve(self, rows: int, positions: int) -> None:
        """Make room for so many rows and positions; what is remembered stays."""
        _, _, old_rows, _, old_positions, _ = self._memory.shape
        if rows <= old_rows and positions <= old_positions:
            return
        shape = list(self._memory.shape)
        shape[2] = max(rows, old_rows)
        if positions > old_positions:
            wanted = max(positions, int(_GROWTH * old_positions))
            shape[4] = -(-wanted // POSITIONS_AT_ONCE) * POSITIONS_AT_ONCE
        grown = self._memory.new_zeros(shape)
        grown[:, :, :old_rows, :, :old_positions] = self._memory
        self._memory = grown
        self.growths += 1

    def move(self, source: int, target: int, positions: int) -> None:
        """Let a row's positions go to where nobody has any."""
        if positions == 0:  # such a row may have no place yet
            return
        self._memory[:, :, target, :, :positions] = self._memory[:, :, source, :, :positions]
        self.forget(source)

    def forget(self, row: int) -> None:
        """Leave nothing of a row to whoever gets its place."""
        self._memory[:, :, row] = 0

    def stretches(self, row: int, start: int, end: int) -> list[Stretch]:
        """Say for each layer where one row's new positions go."""
        return [
            Stretch(keys, values, start, end) for keys, values in self._memory[:, :, row : row + 1]
        ]

    def own_places(self, lengths: torch.Tensor, end: int) -> list[OwnPlaces]:
        """Say for each layer where the new position of each of the first rows goes.

        Args:
            lengths: int64 `(rows,)`, how many positions each has.
            end: More than the longest.
        """
        _, _, _, key_heads, _, head_dim = self._memory.shape
        places = lengths.view(-1, 1, 1, 1).expand(-1, key_heads, 1, head_dim)
        return [
            OwnPlaces(keys, values, places, end)
            for keys, values in self._memory[:, :, : len(lengths)]
        ]
