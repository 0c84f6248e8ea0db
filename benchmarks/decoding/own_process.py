"""Runs what is compared in processes of their own, with memory of their own, as people run it."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

T = TypeVar("T")

_subject: Any = None


class OwnProcess:
    """A process in which one thing was made, such as an engine. It waits until it is called.

    Args:
        make: Makes it, in the process.
        arguments: What `make` is called with.
    """

    def __init__(self, make: Callable[..., object], *arguments: object) -> None:
        self._pool = ProcessPoolExecutor(
            max_workers=1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_make,
            initargs=(make, arguments),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown()

    def call(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a function with what was made, and with more arguments; return its result."""
        return self._pool.submit(_call, function, arguments).result()


def _make(make: Callable[..., object], arguments: tuple[object, ...]) -> None:
    global _subject  # noqa: PLW0603 - the process has one
    _subject = make(*arguments)


def _call(function: Callable[..., T], arguments: tuple[object, ...]) -> T:
    return function(_subject, *arguments)
