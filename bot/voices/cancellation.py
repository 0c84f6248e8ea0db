"""Keep a call to the database whole when whoever made it is cancelled."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from bot.voices.database import Database


class _HasDatabase(Protocol):
    @property
    def database(self) -> Database: ...


P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound=_HasDatabase)


def carried_out(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Make a method go on to its end, see `Database.carry_out`."""

    @wraps(method)
    async def call(owner: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await owner.database.carry_out(method(owner, *args, **kwargs))

    return call
