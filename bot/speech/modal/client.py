"""Looks up the deployed class and calls its methods. Only this module uses Modal's client."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from contextvars import Context
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import modal

from backend.contract import PcmChunk
from bot.speech.errors import BackendUnreachableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

T = TypeVar("T")

APP_NAME = "qwen3-tts-voice-clone"
CLASS_NAME = "Qwen3TTSService"

REACH_WITHIN_SECONDS = 8.0
"""Modal normally answers in well under a second. Without a limit its client tries for a minute."""


def detached(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a task that uses Modal's client, without the caller's context variables.

    The client opens connections and refreshes tokens in a thread of its own. These outlive the
    first command that uses the client, and must not inherit that command's context.
    """
    return Context().run(asyncio.create_task, work)


@dataclass(frozen=True, slots=True)
class StreamBegins:
    """The first item of a call: Modal has taken it, or a container has if it is a stream.

    Attributes:
        call_id: Names the call, so that it can be cancelled.
    """

    call_id: str


@dataclass(frozen=True, slots=True)
class MethodCall:
    """A method of the deployed class, with its arguments.

    Attributes:
        name: The method's name.
        args: Its positional arguments.
        options: Its keyword arguments.
    """

    name: str
    args: tuple[object, ...] = field(default=(), repr=False)
    options: dict[str, object] = field(default_factory=dict, repr=False)


class ModalService:
    """The methods of the deployed class.

    Raises whatever Modal's client raises, and `BackendUnreachableError` where the client would wait
    too long. `errors.translate` turns each of these errors into a `SpeechError`.

    Args:
        token: The id and the secret of a token; with None the client uses `~/.modal.toml`.
    """

    def __init__(self, token: tuple[str, str] | None = None) -> None:
        self._token = token
        self._client: modal.Client | None = None
        self._instance: Any = None
        self._looked_up_at = 0.0
        self._looking: asyncio.Task[None] | None = None

    async def look_up(self, *, max_age: float) -> None:
        """Look up the currently deployed class, unless that was done within `max_age` seconds."""
        if self._instance is not None and monotonic() - self._looked_up_at <= max_age:
            return
        if self._looking is None or self._looking.done():
            self._looking = detached(self._look_up())
        done, _ = await asyncio.wait({self._looking}, timeout=REACH_WITHIN_SECONDS)
        if not done or self._looking.cancelled():  # if not done, it continues for the next call
            raise BackendUnreachableError(f"no answer within {REACH_WITHIN_SECONDS:.0f} s")
        self._looking.result()

    def forget(self) -> None:
        """Forget the class, so that it is looked up again before its next use."""
        self._instance = None

    async def stream(self, call: MethodCall) -> AsyncGenerator[StreamBegins | PcmChunk, None]:
        """Call a generator method. A `StreamBegins` comes first, and again if the call starts anew.

        Closing it early does not stop the remote work; `cancel` does.
        """
        answers = self._method(call).remote_gen.aio(*call.args, **call.options)
        async with aclosing(answers):
            async for answer in answers:
                yield StreamBegins(**answer) if "call_id" in answer else PcmChunk(**answer)

    async def spawn(self, call: MethodCall) -> AsyncGenerator[Any, None]:
        """Call a method: yield a `StreamBegins` once Modal has accepted it, then its result."""
        spawned = await self._method(call).spawn.aio(*call.args, **call.options)
        yield StreamBegins(spawned.object_id)
        yield await spawned.get.aio()

    async def cancel(self, call_id: str) -> None:
        """Cancel a call, by its id."""
        await modal.FunctionCall.from_id(call_id, client=self._client).cancel.aio()

    async def close(self) -> None:
        """Close the connection; the next look-up opens another one."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._looking
        client, self._client = self._client, None
        self.forget()
        if client is not None:
            await client.close.aio()

    def _method(self, call: MethodCall) -> Any:
        return getattr(self._instance, call.name)

    async def _look_up(self) -> None:
        if self._client is None:
            self._client = await self._connect()
        found = modal.Cls.from_name(APP_NAME, CLASS_NAME, client=self._client)
        await found.hydrate.aio()
        self._instance = found()
        self._looked_up_at = monotonic()

    async def _connect(self) -> modal.Client:
        if self._token is None:
            return await modal.Client.from_env.aio()
        return await modal.Client.from_credentials.aio(*self._token)
