"""Numbers between a GPU and the program, without holding up what the GPU does next."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from backend.engine.sampling import draw_uniforms

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


def copied_to(device: torch.device, tensor: Tensor) -> Tensor:
    """Copy a tensor from the program's memory, without waiting for what the device does.

    The device may be the processor. Then nothing is copied.
    """
    # A GPU copies by itself from pinned memory only.
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


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


class SideStream:
    """A stream of a GPU for work that goes on beside what else the GPU does.

    On a CPU there is none, and the work is done at once.

    Args:
        device: Where the work is done. It begins after all that was launched there before.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream: Any = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._stream.wait_stream(torch.cuda.current_stream(device))

    @contextmanager
    def launching(self, *inputs: Tensor) -> Iterator[None]:
        """Launch the work of a block on this stream.

        Args:
            inputs: What the work reads that was made on the current stream since the stream exists.
                The work begins after all that was launched there so far. The memory is not used for
                anything else before the work is done.
        """
        if self._stream is None:
            yield
            return
        if inputs:
            self._stream.wait_stream(torch.cuda.current_stream(inputs[0].device))
        for each in inputs:
            each.record_stream(self._stream)
        with torch.cuda.stream(self._stream):
            yield


class HostSamples:
    """Samples on their way to the program's memory.

    The copy begins at once, on the current stream, and is not waited for.

    Args:
        samples: `(rows, samples)`.
    """

    def __init__(self, samples: Tensor) -> None:
        self._copied: Any = None
        self._memory = samples
        if samples.device.type == "cuda":
            # torch keeps such memory for the next copies, as soon as this one is done.
            self._memory = torch.empty(samples.shape, dtype=samples.dtype, pin_memory=True)
            self._memory.copy_(samples, non_blocking=True)
            self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._copied.record()

    def is_ready(self) -> bool:
        """Return whether they have arrived."""
        return self._copied is None or bool(self._copied.query())

    def wait(self) -> None:
        """Wait until they have arrived. What was copied before them has then arrived, too."""
        if self._copied is not None:
            self._copied.synchronize()

    def read(self) -> NDArray[np.float32]:
        """Return the samples, `(rows, samples)`. They must have arrived."""
        return self._memory.float().numpy()
