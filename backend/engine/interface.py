"""What the scheduler and the service see of an engine. Importable without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from backend.contract import SpeechError


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What is loaded, and on what.

    Attributes:
        model_id: Names the weights; voice prompts are tied to it.
        revision: The commit of the weights on the hub, if they come from there.
        device: "cuda:0" or "cpu".
        device_name: The GPU's name, or "CPU".
        dtype: What it computes with, "bfloat16" or "float32".
        dtype_reason: Why.
        attention: "flash_attention_2", "sdpa" or "eager".
        memory_bytes: What the weights take.
        load_seconds: How long loading took.
        languages: The subset of `backend.contract.LANGUAGES` it speaks.
        versions: Of the packages that run it.
        cuda_graphs: Whether decode steps are recorded as CUDA graphs and replayed.
    """

    model_id: str
    revision: str | None
    device: str
    device_name: str
    dtype: str
    dtype_reason: str
    attention: str
    memory_bytes: int
    load_seconds: float
    languages: tuple[str, ...]
    versions: dict[str, str]
    cuda_graphs: bool = False

    def __str__(self) -> str:
        return (
            f"{self.model_id} on {self.device_name}: {self.memory_bytes / 1e9:.2f} GB, "
            f"{self.dtype} ({self.dtype_reason}), attention {self.attention}, "
            f"{self.load_seconds:.1f} s"
        )


@dataclass(frozen=True, slots=True)
class SpeechChunk:
    """Some speech of one request, or its end.

    Attributes:
        row: The number of the request that it belongs to.
        samples: float32 `(n,)` in [-1, 1]; n may be 0.
        is_last: Whether the request has ended.
        error: Why it has ended, if not because its speech is complete.
        restarts: The first attempt had no end, and this chunk is the first of another: the chunks
            before it have to be dropped.
    """

    row: int
    samples: NDArray[np.float32] = field(repr=False)
    is_last: bool
    error: SpeechError | None = None
    restarts: bool = False
