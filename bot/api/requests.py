"""The requests that are being answered, each with the gate and the limits that commands have."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from bot.errors import Reason, Refusal
from bot.guilds.access import Action, Actor
from bot.guilds.records import WorkKind

if TYPE_CHECKING:
    from types import TracebackType

    from bot.guilds.ledger import Work
    from bot.guilds.policy import Policy


SECONDS_TO_COUNT = 1.0
"""How long the end of a request waits until the database knows of it."""


class ApiRequests:
    """The requests that have not ended.

    Args:
        policy: Decides what is allowed, and counts.

    Attributes:
        open: The requests that have not ended.
        closed_for: Why requests are not answered any more, or None while they are.
    """

    def __init__(self, policy: Policy) -> None:
        self.open: set[ApiRequest] = set()
        self.closed_for: Reason | None = None
        self._policy = policy

    def request(self, person_id: int, action: Action) -> ApiRequest:
        """A request of a person, to be used as a context manager."""
        return ApiRequest(self, self._policy, person_id, action)

    async def close(self, *, within: float) -> None:
        """Refuse new requests, and end those that run. Returns after so many seconds at most."""
        self.closed_for = Reason.RESTARTING
        endings = [asyncio.create_task(each.cancel(self.closed_for)) for each in self.open]
        if endings:
            _, late = await asyncio.wait(endings, timeout=within)
            for ending in late:
                ending.cancel()


class ApiRequest:
    """A request of a person. Entering checks whether they may do that, and leaving ends its work.

    Args:
        requests: All that are open.
        policy: Decides what is allowed, and counts.
        person_id: The Discord id that the key stands for.
        action: What the person wants to do.

    Attributes:
        actor: The person; in a server, once a voice speaks that is shared with them there.
        action: What the person wants to do.
        voice_id: The saved voice that speaks, as `SavedVoice.id`; None while that isn't known.
    """

    def __init__(
        self, requests: ApiRequests, policy: Policy, person_id: int, action: Action
    ) -> None:
        self.actor = Actor(person_id, uses_api=True)
        self.action = action
        self.voice_id: int | None = None
        self._requests = requests
        self._policy = policy
        self._work: Work | None = None
        self._task: asyncio.Task[object] | None = None
        self._cancelled_for: Reason | None = None
        self._ended = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Raises `Refusal` if the person may not do that."""
        if self._requests.closed_for is not None:
            raise Refusal(self._requests.closed_for)
        self._task = asyncio.current_task()
        self._requests.open.add(self)
        try:
            await self._policy.check(self.actor, self.action)
        except BaseException as error:
            self._end()
            self._raise_reason(error)
            raise
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """End the work. If `cancel` was called, raise `Refusal` with its reason.

        Programs make their next request at once, so this one ends when it counts no more.
        """
        ended = self._end()
        self._raise_reason(error)
        if ended is not None and error is None:
            await asyncio.wait([ended], timeout=SECONDS_TO_COUNT)

    async def begin(self, seconds: float) -> Work:
        """Begin what takes long, before anything large is loaded; it ends with the request.

        Args:
            seconds: How much speech it will probably need.

        Raises `Refusal` if that exceeds a limit.
        """
        self._work = await self._policy.begin(self.actor, WorkKind.REQUEST, seconds)
        return self._work

    async def cancel(self, reason: Reason, *, is_forbidden: bool = False) -> None:  # noqa: ARG002 - what was made went out
        """End the request, and return when it has ended."""
        if self._task is not None and self._cancelled_for is None:
            self._cancelled_for = reason
            self._task.cancel()
        await self._ended.wait()

    def _end(self) -> asyncio.Future[bool] | None:
        self._requests.open.discard(self)
        self._ended.set()
        return self._work.end() if self._work is not None else None

    def _raise_reason(self, error: BaseException | None) -> None:
        if not isinstance(error, asyncio.CancelledError) or self._cancelled_for is None:
            return
        assert self._task is not None  # noqa: S101 - `cancel` has cancelled it
        if self._task.uncancel() == 0:  # nobody else has cancelled it as well
            raise Refusal(self._cancelled_for) from error
