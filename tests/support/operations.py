"""Counts what torch is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from collections.abc import Callable


class Work(NamedTuple):
    """What some work takes.

    Attributes:
        operations: How many operations.
        numbers: How many numbers these result in.
    """

    operations: int
    numbers: int


def work_of(work: Callable[[], object]) -> Work:
    """Do some work, and count."""
    counted = _Counter()
    with counted:
        work()
    return Work(counted.operations, counted.numbers)


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0
        self.numbers = 0

    def __torch_dispatch__(self, operation: Any, _types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def] # noqa: ANN204
        results = operation(*args, **(kwargs or {}))
        self.operations += 1
        tensors = (each for each in tree_leaves(results) if isinstance(each, torch.Tensor))
        self.numbers += sum(each.numel() for each in tensors)
        return results
