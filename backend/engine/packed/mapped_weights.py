"""Reads a checkpoint's weights from its files when they are used, in the files' own numbers."""

from __future__ import annotations

import json
import mmap
import resource
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import torch

from backend.weights.store import tensor_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor

_HEADER_LENGTH_BYTES = 8
_OTHER_FILES = 256
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


@dataclass(frozen=True, slots=True)
class _Stored:
    file: Path
    first_byte: int
    dtype: torch.dtype
    shape: tuple[int, ...]


class MappedWeights:
    """The weights in the safetensors files of a folder.

    A weight's memory is mapped from the file, and each weight's by itself. So it takes memory once
    its numbers are used, and gives it back when nobody holds it any more. The safetensors package
    maps whole files: what was used of a file stays in memory until its last weight is gone.

    Each mapping keeps its file open once more. So this process' limit of open files is raised if it
    is low. Downloads replace files, which harms no mapping. A file that somebody shortens in place
    ends this process with a bus error when one of its weights is used.

    The format: https://github.com/huggingface/safetensors#format

    Args:
        folder: Holds whole files, as `backend.weights.store.inspect` tells. Other safetensors files
            may lie beside those that loading reads.
    """

    def __init__(self, folder: Path) -> None:
        self._stored = dict(
            stored
            for name in tensor_files(folder)
            if name.endswith(".safetensors")
            for stored in _header(folder / name)
        )
        _let_open(len(self._stored))

    def dtype(self, name: str) -> torch.dtype:
        """Return the number format of a weight. Raises KeyError if there is none of that name."""
        return self._stored[name].dtype

    def read(self, name: str) -> Tensor:
        """Return a weight. Raises KeyError if there is none of that name."""
        stored = self._stored[name]
        numbers = prod(stored.shape)
        if not numbers:
            return torch.empty(stored.shape, dtype=stored.dtype)
        start = stored.first_byte - stored.first_byte % mmap.ALLOCATIONGRANULARITY
        end = stored.first_byte + numbers * stored.dtype.itemsize
        with stored.file.open("rb") as file:
            # A private copy of each page, if somebody should write. torch takes no other memory
            # without a warning.
            pages = mmap.mmap(file.fileno(), end - start, access=mmap.ACCESS_COPY, offset=start)
        offset = stored.first_byte - start
        flat = torch.frombuffer(pages, dtype=stored.dtype, count=numbers, offset=offset)
        return flat.view(stored.shape)


def _header(path: Path) -> Iterator[tuple[str, _Stored]]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_HEADER_LENGTH_BYTES), "little")
        header = json.loads(file.read(length))
    for name, told in header.items():
        if name != "__metadata__" and told["dtype"] in _DTYPES:
            start = _HEADER_LENGTH_BYTES + length + told["data_offsets"][0]
            yield name, _Stored(path, start, _DTYPES[told["dtype"]], tuple(told["shape"]))


def _let_open(files: int) -> None:
    """Let this process have so many files open, besides others, as far as the system allows it.

    A checkpoint has 250 matrices, and on macOS a process may have 256 open files.
    """
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = files + _OTHER_FILES
    if most != resource.RLIM_INFINITY:
        wanted = min(wanted, most)
    if limit != resource.RLIM_INFINITY and limit < wanted:
        with suppress(OSError, ValueError):  # macOS has another limit, which it does not tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
