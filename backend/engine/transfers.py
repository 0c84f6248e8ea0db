"""Numbers between a GPU and the program, without holding up what the GPU does next."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch

from backend.engine.sampling import draw_uniforms

if TYPE_CHECKING:
    from concurrent.futures import Future
    from typing import Any

    from torch import Tensor


class HostCopy:
    """Copies a tensor to memory that the program reads later.

    Plain reading waits until the GPU has done all that it was given. This waits only for what it
    was given before the copy began.

    Args:
        like: A tensor with the dtype, the device and at least the size of what is copied.
    """

    def __init__(self, like: Tensor) -> None:
        is_gpu = like.device.type == "cuda"
        # A GPU copies by itself to pinned memory only.
        self._memory = torch.empty(like.shape, dtype=like.dtype, pin_memory=is_gpu)
        self._count = 0
        self._copied: Any = torch.cuda.Event() if is_gpu else None  # type: ignore[no-untyped-call]

    def begin(self, source: Tensor) -> None:
        """Begin to copy a one-dimensional tensor. The copy before it must have been read."""
        self._count = len(source)
        self._memory[: self._count].copy_(source, non_blocking=True)
        if self._copied is not None:
            self._copied.record()

    def wait(self) -> list[int]:
        """Wait for the copy, and return its numbers."""
        if self._copied is not None:
            self._copied.synchronize()
        numbers: list[int] = self._memory[: self._count].numpy().tolist()
        return numbers


class UniformSource:
    """Draws random numbers in a thread of its own, ready to be copied by a GPU itself.

    Args:
        device: Where the numbers are needed.
    """

    def __init__(self, device: torch.device) -> None:
        self._is_gpu = device.type == "cuda"
        self._thread = ThreadPoolExecutor(1, "random numbers")

    def draw(self, seed: int | None, attempt: int, shape: tuple[int, int]) -> Future[Tensor]:
        """Begin to draw. The arguments and the result are those of `draw_uniforms`."""
        return self._thread.submit(self._draw, seed, attempt, shape)

    def _draw(self, seed: int | None, attempt: int, shape: tuple[int, int]) -> Tensor:
        uniforms = draw_uniforms(seed, attempt, shape)
        return uniforms.pin_memory() if self._is_gpu else uniforms
