"""Hides the GPU from torch while a memory snapshot is prepared. Imports nothing but torch."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def hidden_gpu() -> Iterator[None]:
    """Let torch find no GPU in this block, without asking the driver.

    If the driver is asked where no GPU can be seen, it finds none in this process ever after, and
    some packages ask when they are imported (https://modal.com/docs/guide/memory-snapshots).
    `torch.cuda.is_available` and `device_count` ask by this function of torch 2.9.
    """
    asks = torch._C._cuda_getDeviceCount  # noqa: SLF001 - it has no public name
    torch._C._cuda_getDeviceCount = lambda: 0  # noqa: SLF001 - as above
    try:
        yield
    finally:
        torch._C._cuda_getDeviceCount = asks  # noqa: SLF001 - as above
