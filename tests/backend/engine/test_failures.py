"""What the errors of a GPU mean: the texts that torch, cuBLAS, cuDNN and CTranslate2 raise."""

from __future__ import annotations

import pytest
import torch

from backend.engine.failures import is_context_lost, is_out_of_memory

REPORTED_LATER = (
    "\nCUDA kernel errors might be asynchronously reported at some other API call, so the "
    "stacktrace below might be incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
    "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"
)
LOST = [
    "CUDA error: device-side assert triggered\nSearch for `cudaErrorAssert' in "
    "https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html for more information."
    + REPORTED_LATER,
    "CUDA error: an illegal memory access was encountered" + REPORTED_LATER,
    "CUDA error: unspecified launch failure" + REPORTED_LATER,
    "CUDA error: an illegal instruction was encountered" + REPORTED_LATER,
    "CUDA error: misaligned address" + REPORTED_LATER,
    "CUDA error: operation not supported on global/shared address space" + REPORTED_LATER,
    "CUDA error: invalid program counter" + REPORTED_LATER,
    "CUDA error: hardware stack error" + REPORTED_LATER,
    "CUDA error: the launch timed out and was terminated" + REPORTED_LATER,
    "CUDA error: uncorrectable ECC error encountered" + REPORTED_LATER,
    "CUDA error: uncorrectable NVLink error detected during the execution" + REPORTED_LATER,
    "CUDA error: context is destroyed" + REPORTED_LATER,
    "CUDA error: unknown error" + REPORTED_LATER,
    "CUDA failed with error an illegal memory access was encountered",
]
NO_MEMORY = [
    "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 14.56 GiB of",
    "CUDA error: out of memory" + REPORTED_LATER,
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "CUDA failed with error out of memory",
    "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you",
]
OTHERS = [
    "CUDA error: invalid argument" + REPORTED_LATER,
    "CUDA error: operation not permitted when stream is capturing" + REPORTED_LATER,
    "CUDA error: no kernel image is available for execution on the device" + REPORTED_LATER,
    "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu",
    "somebody asked to say: misaligned address",
]


@pytest.mark.parametrize("kind", [RuntimeError, torch.AcceleratorError])
def test_what_ends_the_use_of_a_gpu_is_recognised(kind: type[Exception]) -> None:
    assert [text for text in LOST if not is_context_lost(kind(text))] == []
    assert [text for text in LOST if is_out_of_memory(kind(text))] == []


def test_what_led_to_another_error_is_recognised() -> None:
    def read() -> None:
        try:
            raise torch.AcceleratorError(LOST[0])
        except RuntimeError as error:
            raise ValueError("it could not be read") from error

    with pytest.raises(ValueError, match="could not be read") as raised:
        read()
    assert is_context_lost(raised.value)


@pytest.mark.parametrize("text", NO_MEMORY)
@pytest.mark.parametrize("kind", [RuntimeError, torch.AcceleratorError, torch.OutOfMemoryError])
def test_a_lack_of_memory_is_no_loss_of_the_gpu(kind: type[Exception], text: str) -> None:
    assert is_out_of_memory(kind(text))
    assert not is_context_lost(kind(text))


@pytest.mark.parametrize("text", OTHERS)
def test_other_errors_are_neither(text: str) -> None:
    for error in (RuntimeError(text), torch.AcceleratorError(text)):
        assert not is_out_of_memory(error)
        assert not is_context_lost(error)


def test_only_errors_of_the_gpu_count() -> None:
    assert not is_context_lost(ValueError(LOST[0]))
    assert not is_out_of_memory(ValueError(NO_MEMORY[0]))
    assert is_out_of_memory(MemoryError())


def test_torch_raises_what_is_recognised() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**50)
    assert is_out_of_memory(raised.value)
