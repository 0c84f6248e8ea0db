"""Scheduled requests: the engine's thread writes their results, event loops read them."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from backend.contract import PcmChunk, SpeechError, VoicePrompt

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from backend.contract import ConsentRecord, SpeechRequest
    from backend.engine.interface import ReadRequest, SpeechChunk, SpeechEngine

Result = TypeVar("Result")


class ScheduledRequest(Generic[Result]):
    """A request that waits for the engine or runs on it, and the stream of its results.

    One task reads the results with `async for`. They are buffered, so a slow reader never delays
    the engine. The buffer needs no bound, because the length of a request's result is limited.

    Must be created in a running event loop. `deliver`, `finish` and `fail` may be called from any
    thread. They do nothing once the request is over.

    Args:
        caller: The caller that the request counts for.

    Attributes:
        is_over: Whether it has finished, failed or been cancelled.
        engine_seconds: The engine's time that it has used so far. The time of a batch is divided
            equally among its requests.
    """

    def __init__(self, caller: str) -> None:
        self.caller = caller
        self.is_over = False
        self.engine_seconds = 0.0
        self._results: asyncio.Queue[Result | SpeechError | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def deliver(self, result: Result) -> None:
        """Pass a part of the result to the reader."""
        if not self.is_over:
            self._post(result)

    def finish(self) -> None:
        """End the results: all of them were delivered."""
        self._end(None)

    def fail(self, error: SpeechError) -> None:
        """End the results with an error."""
        self._end(error)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Result:
        result = await self._results.get()
        if result is None:
            raise StopAsyncIteration
        if isinstance(result, SpeechError):
            raise result
        return result

    def _end(self, last: SpeechError | None) -> None:
        if not self.is_over:
            self.is_over = True
            self._post(last)

    def _post(self, message: Result | SpeechError | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._results.put_nowait, message)
        except RuntimeError:  # the caller's event loop is closed, so nobody reads
            self.is_over = True


class ScheduledSpeech(ScheduledRequest[PcmChunk]):
    """A sentence to be spoken.

    Args:
        request: The text, the voice prompt and the options.

    Attributes:
        request: As given.
        reading: What is read of it, in another thread than the engine's; or why it is refused.
    """

    def __init__(self, request: SpeechRequest) -> None:
        super().__init__(request.caller)
        self.request = request
        self.reading: Future[ReadRequest] = Future()
        self._samples = 0

    def read(self, engine: SpeechEngine) -> None:
        """Read it, and complete `reading` in any case. A request that is over is not read."""
        if self.is_over:
            self.reading.cancel()
            return
        try:
            self.reading.set_result(engine.read(self.request))
        except BaseException as error:  # noqa: BLE001 - whoever waits for it is told
            self.reading.set_exception(error)

    def deliver_chunk(self, chunk: SpeechChunk, sample_rate: int) -> None:
        """Pass a chunk from the engine to the reader, as PCM at `sample_rate` Hz."""
        if chunk.restarts:
            self._samples = 0
        first, self._samples = self._samples, self._samples + len(chunk.samples)
        if chunk.restarts or len(chunk.samples):
            pcm = (np.clip(chunk.samples, -1, 1) * 32_767).astype("<i2").tobytes()
            self.deliver(PcmChunk(pcm, sample_rate, chunk.restarts, first))


class ScheduledPrompt(ScheduledRequest[VoicePrompt]):
    """A voice prompt to be made; the prompt is its only result.

    Args:
        samples: The reference clip, as for `Engine.make_prompt`.
        transcript: What is said in the clip, if that is known.
        consent: Who attested that the voice may be cloned.
        caller: The caller that the request counts for.
    """

    def __init__(
        self,
        samples: NDArray[np.float32],
        transcript: str | None,
        consent: ConsentRecord | None,
        caller: str,
    ) -> None:
        super().__init__(caller)
        self.samples = samples
        self.transcript = transcript
        self.consent = consent
