"""An answer that is made in a task of its own, ahead of the client that reads it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from starlette.responses import Response

from backend.contract import SpeechError
from bot.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.types import Receive, Scope, Send

    Emit = Callable[[bytes], None]
    """Takes the next bytes of an answer."""

    Make = Callable[[Emit], Awaitable[None]]
    """Makes an answer, or raises."""

log = structlog.get_logger(__name__)


class Prefetch:
    """Bytes that a task makes. They are kept until they are read: a file of speech, at most.

    So a client that reads slowly doesn't keep the voice engine from others.

    Args:
        make: Makes the bytes.
    """

    def __init__(self, make: Make) -> None:
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._run(make))

    async def next(self) -> bytes | None:
        """Return the next bytes, or None after the last. Raises what making them raises."""
        piece = await self._pieces.get()
        if piece is None:
            await self._task
        return piece

    async def close(self) -> None:
        """Stop making, and wait until that has ended."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, make: Make) -> None:
        try:
            await make(self._pieces.put_nowait)
        finally:
            self._pieces.put_nowait(None)


class PrefetchedResponse(Response):
    """An answer whose first bytes are there.

    Where the rest can't be made, the connection is closed before the answer is complete, so that no
    client takes it for the whole.

    Args:
        prefetch: The rest. It is closed when the answer ends, however that happens.
        first: The first bytes.
        media_type: What they are.
        headers: More headers.
        last_words: Makes bytes of an error, for an answer that can say in itself why it ends.
    """

    def __init__(
        self,
        prefetch: Prefetch,
        first: bytes | None,
        *,
        media_type: str,
        headers: Mapping[str, str] | None = None,
        last_words: Callable[[Exception], bytes] | None = None,
    ) -> None:
        super().__init__(media_type=media_type, headers=headers)
        del self.headers["content-length"]
        self._prefetch = prefetch
        self._first = first
        self._last_words = last_words

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the answer as it is made."""
        try:
            start = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **start})
            piece = self._first
            while piece is not None:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                try:
                    piece = await self._prefetch.next()
                except Exception as error:  # noqa: BLE001 - it is logged, and the client told
                    request_id = scope["state"]["request_id"]
                    if not await self._ended_early(error, request_id, send):
                        return
                    piece = None
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await self._prefetch.close()

    async def _ended_early(self, error: Exception, request_id: str, send: Send) -> bool:
        """Return whether the client could be told why."""
        if isinstance(error, Refusal | SpeechError):
            log.warning(
                "speech ended early",
                request=request_id,
                kind=type(error).__name__,
                reason=str(error),
            )
        else:
            log.error("speech ended early", request=request_id, exc_info=error)
        if self._last_words is None:
            return False
        words = self._last_words(error)
        await send({"type": "http.response.body", "body": words, "more_body": True})
        return True
