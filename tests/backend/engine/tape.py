"""Operations of torch that are noted, and done again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten

if TYPE_CHECKING:
    from torch._ops import OpOverload
    from torch.utils._pytree import TreeSpec


class Tape(TorchDispatchMode):
    """Notes the operations of what runs while it is entered, and does them again.

    Like a GPU that captures, it takes no operation whose result the program would have to wait for.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._calls: list[_Call] = []
        self._made: dict[int, int] = {}
        self._kept: list[Any] = []  # so that no other tensor gets the id of one that was made

    def __torch_dispatch__(self, operation: Any, _types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def] # noqa: ANN204
        kwargs = kwargs or {}
        with self:  # an operation that consists of others is noted as those
            results = operation.decompose(*args, **kwargs)
        if results is not NotImplemented:
            return results
        given, layout = tree_flatten((args, kwargs))
        if _must_be_waited_for(operation, given):
            raise RuntimeError(f"{operation}: operation not permitted when stream is capturing")
        results = operation(*args, **kwargs)
        is_made = [_is_tensor(each) and id(each) in self._made for each in given]
        sources = [
            self._made[id(each)] if made else each
            for each, made in zip(given, is_made, strict=True)
        ]
        numbers = []
        for each in tree_flatten(results)[0]:
            if _is_tensor(each):
                self._kept.append(each)
                self._made.setdefault(id(each), len(self._made))
                numbers.append(self._made[id(each)])
            else:
                numbers.append(-1)
        self._calls.append(_Call(operation, sources, is_made, layout, numbers))
        return results

    def close(self) -> None:
        """Let go of what was made meanwhile."""
        self._kept.clear()

    @property
    def kernels(self) -> int:
        """How many operations compute something, rather than view or allocate memory."""
        return sum(_has_kernel(call.operation) for call in self._calls)

    def replay(self) -> None:
        """Do all of it again."""
        made: dict[int, Any] = {}
        for call in self._calls:
            given = [
                made[source] if is_made else source
                for source, is_made in zip(call.sources, call.is_made, strict=True)
            ]
            args, kwargs = tree_unflatten(given, call.layout)
            results = tree_flatten(call.operation(*args, **kwargs))[0]
            made.update(zip(call.results, results, strict=True))


class _Call(NamedTuple):
    operation: OpOverload
    sources: list[Any]
    is_made: list[bool]
    layout: TreeSpec
    results: list[int]


def _must_be_waited_for(operation: OpOverload, given: list[Any]) -> bool:
    """Return whether the program needs the result itself, or how many numbers it has."""
    if operation in _INDEXED:  # that depends on the kind of index
        return any(each.dtype == torch.bool for each in given if _is_tensor(each))
    tags = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
    return bool(tags & set(operation.tags))


_INDEXED = {
    torch.ops.aten.index.Tensor,
    torch.ops.aten.index_put.default,
    torch.ops.aten.index_put_.default,
    torch.ops.aten._index_put_impl_.default,
}


def _is_tensor(value: object) -> bool:
    return isinstance(value, torch.Tensor)


def _has_kernel(operation: OpOverload) -> bool:
    return not operation.is_view and "empty" not in str(operation)
