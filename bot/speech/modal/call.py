"""One remote call, from its start until its remote work has ended."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog

from backend.contract import BackendUnavailableError, SpeechError
from bot.speech.errors import (
    BackendQuotaError,
    BackendUnreachableError,
    SpeechInterruptedError,
    SpeechTimeoutError,
)
from bot.speech.modal.client import StreamBegins, detached
from bot.speech.modal.errors import ends_call, translate

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from backend.contract import PcmChunk
    from bot.speech.modal.client import ModalService

log = structlog.get_logger(__name__)

LOOK_UP_EVERY_SECONDS = 5.0
"""How often a call that waits for an answer checks that Modal and the class are available."""

CALL_ID_WITHIN_SECONDS = 600.0
"""How long cancelling waits for the call's id, which may come only after a cold start."""

CANCEL_WITHIN_SECONDS = 60.0

_MAY_PASS = (BackendUnreachableError, BackendQuotaError)
_SAMPLE_BYTES = 2

END: Any = object()
"""Returned by `RemoteCall.next` once the answer is complete."""


class RemoteCall:
    """A running call.

    A separate task fetches each part of the answer and is not cancelled with the caller. Otherwise
    the call's id could be lost, and the remote work could not be stopped.

    Args:
        service: The service that runs the call.
        answers: First a `StreamBegins`, then what the method returns or yields.

    Attributes:
        call_id: Modal's id of the call, once known.
    """

    def __init__(self, service: ModalService, answers: AsyncGenerator[Any, None]) -> None:
        self._service = service
        self._answers = answers
        self._fetch: asyncio.Task[Any] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_over = False
        self.call_id: str | None = None

    async def next(self, *, within: float) -> Any:
        """Wait for the next part of the answer; `END` after the last.

        Args:
            within: The seconds after which it raises `SpeechTimeoutError`.

        Every failure is a `SpeechError`.
        """
        self._check_open()
        fetch = self._fetching()
        watch = asyncio.create_task(self._watch())
        try:
            await asyncio.wait(
                {fetch, self._closed, watch}, timeout=within, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            watch.cancel()
            watched = await asyncio.gather(watch, return_exceptions=True)
        self._check_open()
        if fetch.done():  # an answer counts even if the watch has failed too
            return self._take(fetch)
        if isinstance(watched[0], SpeechError):
            raise watched[0]
        raise SpeechTimeoutError(within)

    def close(self) -> asyncio.Task[None]:
        """Fail a waiting `next` with `BackendUnavailableError`, and cancel the remote work."""
        if not self._closed.done():
            self._closed.set_result(None)
        return self.cancel()

    def cancel(self) -> asyncio.Task[None]:
        """Cancel the remote work in a background task, unless it has ended; return the task."""
        if self._ending is None:
            self._ending = detached(self._end())
        return self._ending

    async def _end(self) -> None:
        try:
            if not self._is_over:
                await self._cancel_remotely()
        finally:
            if self._fetch is not None:
                self._fetch.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await self._fetch
            with suppress(Exception):
                await self._answers.aclose()

    def _check_open(self) -> None:
        if self._closed.done():
            raise BackendUnavailableError("the bot is shutting down")

    async def _cancel_remotely(self) -> None:
        try:
            async with asyncio.timeout(CALL_ID_WITHIN_SECONDS):
                while self.call_id is None and not self._is_over:
                    fetch = self._fetching()
                    await asyncio.wait({fetch})
                    self._take(fetch)
            if self.call_id is not None and not self._is_over:
                async with asyncio.timeout(CANCEL_WITHIN_SECONDS):
                    await self._service.cancel(self.call_id)
        except Exception as error:  # noqa: BLE001 - a background task, so it is only logged
            if not self._is_over:
                log.warning(
                    "a cancelled call may still run",
                    call=self.call_id,
                    failure=type(error).__name__,
                )

    def _fetching(self) -> asyncio.Task[Any]:
        if self._fetch is None:
            self._fetch = detached(self._fetch_next())
        return self._fetch

    async def _fetch_next(self) -> Any:
        return await anext(self._answers, END)

    def _take(self, fetch: asyncio.Task[Any]) -> Any:
        self._fetch = None
        try:
            answer = fetch.result()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - translated
            self._is_over = ends_call(error)
            raise translate(error) from None
        if answer is END:
            self._is_over = True
        if isinstance(answer, StreamBegins):
            self.call_id = answer.call_id
        return answer

    async def _watch(self) -> None:
        """Check regularly that Modal answers and the class is deployed.

        Raises a `SpeechError` if not. A failure that may be temporary counts only if it happens
        twice in a row.
        """
        has_failed = False
        while True:
            await asyncio.sleep(LOOK_UP_EVERY_SECONDS)
            try:
                await self._service.look_up(max_age=LOOK_UP_EVERY_SECONDS)
            except Exception as error:  # noqa: BLE001 - translated
                failure = translate(error)
                if has_failed or not isinstance(failure, _MAY_PASS):
                    raise failure from None
                has_failed = True
            else:
                has_failed = False


class RunMerger:
    """Merges the chunks of one streamed call if Modal runs the call a second time.

    If a container is lost, Modal runs the call again in another one. Its client skips as many
    chunks of the second run as it had received from the first. The seed makes both runs the same
    speech. But the lengths of chunks depend on the other requests in the batch. So the chunks of
    the second run may overlap those of the first, or leave a gap. A backend that does not say where
    its chunks belong, as an old deployment doesn't, leaves open which of it is so.
    """

    def __init__(self) -> None:
        self._samples = 0
        self._is_new_run = False

    def begin_run(self) -> None:
        """Record that the next chunk is the first one of another run."""
        self._is_new_run = True

    def merge(self, chunk: PcmChunk) -> PcmChunk:
        """Return the part of a chunk that earlier chunks do not contain; it may be empty.

        Raises `SpeechInterruptedError` if samples before the chunk are missing, or may be.
        """
        if self._is_new_run and self._samples and chunk.first_sample is None:
            raise SpeechInterruptedError("the second run does not say where its chunks belong")
        self._is_new_run = False
        if chunk.restarts:
            self._samples = 0
        first = self._samples if chunk.first_sample is None else chunk.first_sample
        if first > self._samples:
            raise SpeechInterruptedError("two runs of the call do not fit together")
        overlap = self._samples - first
        if overlap:
            chunk = replace(chunk, pcm=chunk.pcm[overlap * _SAMPLE_BYTES :], first_sample=None)
        self._samples += len(chunk.pcm) // _SAMPLE_BYTES
        return chunk
