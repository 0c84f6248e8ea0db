"""What leaves the engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from backend.contract import SpeechError


@dataclass(frozen=True, slots=True)
class SpeechChunk:
    """A stretch of one row's speech, or its end.

    Attributes:
        row: The number of the job that it belongs to.
        samples: float32 `(n,)` in [-1, 1]; n may be 0.
        is_last: Whether the row is over.
        error: Why it is over, if that is not the end of its speech.
        restarts: The model lost its way and begins the row anew with this chunk: what came before
            belongs to no speech.
    """

    row: int
    samples: NDArray[np.float32] = field(repr=False)
    is_last: bool
    error: SpeechError | None = None
    restarts: bool = False
