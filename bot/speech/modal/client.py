"""The door to Modal: the deployed class, looked up by name, and the calls it takes."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from contextvars import Context
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import modal

from backend.contract import StreamBegins
from bot.speech.errors import BackendUnreachableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

T = TypeVar("T")

APP_NAME = "qwen3-tts-voice-clone"
CLASS_NAME = "Qwen3TTSService"

REACH_WITHIN_SECONDS = 8.0
"""Modal answers in well under a second; its client alone would try for a minute."""


def detached(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Begin something that Modal's client does, in a context of its own.

    What it starts in its own thread (connections, refreshing of tokens) outlives the command that
    happened to come first, and must not inherit that command's context variables.
    """
    return Context().run(asyncio.create_task, work)


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of the deployed class.

    Attributes:
        method: The name of one of its methods.
        args: The method's arguments.
        options: Its keyword arguments.
    """

    method: str
    args: tuple[object, ...] = field(default=(), repr=False)
    options: dict[str, object] = field(default_factory=dict, repr=False)


class ModalService:
    """The methods of the deployed class.

    Raises whatever Modal's client raises, and `BackendUnreachableError` where it would wait too
    long; `modal_failures.translate` puts all of it into the bot's terms.

    Args:
        token: Its id and its secret; None lets the client find one in `~/.modal.toml`.
    """

    def __init__(self, token: tuple[str, str] | None = None) -> None:
        self._token = token
        self._client: modal.Client | None = None
        self._instance: Any = None
        self._looked_up_at = 0.0
        self._looking: asyncio.Task[None] | None = None

    async def look_up(self, *, max_age: float) -> None:
        """Make sure that the class is there, as far as that was known `max_age` seconds ago.

        A class that was deployed anew in the meantime is found as it is now.
        """
        if self._instance is not None and monotonic() - self._looked_up_at <= max_age:
            return
        if self._looking is None or self._looking.done():
            self._looking = detached(self._look_up())
        done, _ = await asyncio.wait({self._looking}, timeout=REACH_WITHIN_SECONDS)
        if not done or self._looking.cancelled():  # it goes on, for whoever asks next
            raise BackendUnreachableError(f"no answer within {REACH_WITHIN_SECONDS:.0f} s")
        self._looking.result()

    def forget(self) -> None:
        """Look the class up again before its next use."""
        self._instance = None

    async def stream(self, ask: Ask) -> AsyncGenerator[Any, None]:
        """Call a generator: first comes a `StreamBegins`, then what it yields.

        Closing it early does not stop the remote work; `cancel` does.
        """
        answers = self._method(ask).remote_gen.aio(*ask.args, **ask.options)
        async with aclosing(answers):
            async for answer in answers:
                yield answer

    async def spawn(self, ask: Ask) -> AsyncGenerator[Any, None]:
        """Call a method: first comes a `StreamBegins` once Modal has the call, then its result."""
        call = await self._method(ask).spawn.aio(*ask.args, **ask.options)
        yield StreamBegins(call.object_id)
        yield await call.get.aio()

    async def cancel(self, call_id: str) -> None:
        """Stop a call, wherever it runs."""
        await modal.FunctionCall.from_id(call_id, client=self._client).cancel.aio()

    async def close(self) -> None:
        """Let go of the connection; the next look-up makes another one."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await self._looking
        client, self._client = self._client, None
        self.forget()
        if client is not None:
            await client.close.aio()

    def _method(self, ask: Ask) -> Any:
        return getattr(self._instance, ask.method)

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
