"""Tells apart what a GPU's errors mean for the process. Importable without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOST_CONTEXT = (
    "device-side assert triggered",
    "an illegal memory access was encountered",
    "unspecified launch failure",
    "an illegal instruction was encountered",
    "misaligned address",
    "operation not supported on global/shared address space",
    "invalid program counter",
    "hardware stack error",
    "the launch timed out and was terminated",
    "context is destroyed",
    "uncorrectable ECC error encountered",
    "uncorrectable NVLink error detected",
    "Invalid access of peer GPU memory over nvlink or a hardware error",
    "CUDA error: unknown error",
    "CUDA failed with error unknown error",
)
"""Texts of `cudaGetErrorString`. After one of these errors, every use of the GPU by this process
fails, and only another process helps:
https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html"""


_OUT_OF_MEMORY = (
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUDA failed with error out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "can't allocate memory",
)


def is_context_lost(error: BaseException) -> bool:
    """Return whether an error, or one that led to it, has ended this process' use of the GPU.

    The error may have arisen in an earlier call than the one that raised it, since a GPU runs
    behind the program. torch raises `torch.AcceleratorError`, or a plain RuntimeError from cuBLAS
    and cuDNN; CTranslate2 raises a RuntimeError.
    """
    return any(
        isinstance(each, RuntimeError) and "CUDA" in str(each) and text in str(each)
        for each in _chain(error)
        for text in _LOST_CONTEXT
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory has run out, on the GPU or beside it, and all else works on.

    Besides `torch.OutOfMemoryError`, which is a RuntimeError, torch raises other RuntimeErrors if
    CUDA, cuBLAS or its allocator for a CPU find no memory.
    """
    if is_context_lost(error):
        return False
    is_told = isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)
    return is_told or isinstance(error, MemoryError)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and those that led to it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
