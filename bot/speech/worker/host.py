"""Runs a speech model in a child process of the bot.

A model holds the GIL for long periods, which would block the bot's event loop. And if the model
runs out of memory, the bot survives.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from contextlib import aclosing, suppress
from itertools import count
from typing import TYPE_CHECKING, Any

import structlog

from backend.contract import BackendUnavailableError, GenerationFailedError, SpeechError
from bot.speech.worker.channel import Answer, Call, Cancel, Channel, Loaded
from bot.speech.worker.process import serve

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from backend.contract import (
        BackendInfo,
        ConsentRecord,
        PcmChunk,
        PreparedVoice,
        ReferenceClip,
        SpeechRequest,
    )
    from bot.speech.worker.channel import Method
    from bot.speech.worker.process import LoadModel

log = structlog.get_logger(__name__)

_ENDED_LOADING = (
    "The voice engine's process ended while it was loading the model, as it does where memory runs "
    "out. Choose a smaller model with MODEL_ID, or free some memory, then start again."
)


class WorkerBackend:
    """A `SpeechBackend` whose model runs in a child process.

    If the child dies, the running calls fail with `GenerationFailedError`, and the next call starts
    another one. The child ends with the bot's process, even if that crashes.

    Args:
        load: Loads the model, in the child process.
    """

    def __init__(self, load: LoadModel) -> None:
        self._load = load
        self._process: _ModelProcess | None = None
        self._info: BackendInfo | None = None

    async def start(self) -> None:
        """Start the process, and wait until the model is loaded.

        Raises `BackendUnavailableError` with a message for the operator.
        """
        process = self.begin_loading()
        try:
            loaded = await process.loaded()
        except BaseException:
            await self.close()
            raise
        self._info = loaded.info
        log.info("the voice engine is loaded", **loaded.details)

    def begin_loading(self) -> _ModelProcess:
        """Start the process without waiting for the model. The first call waits for it instead."""
        self._process = _ModelProcess(self._load)
        return self._process

    async def close(self) -> None:
        """End the process. Running calls fail with `BackendUnavailableError`."""
        process, self._process = self._process, None
        if process is not None:
            await process.kill()

    def info(self) -> BackendInfo:
        """Describe the backend. Raises `BackendUnavailableError` before it has started."""
        if self._info is None:
            raise BackendUnavailableError("the voice engine has not started")
        return self._info

    async def health(self) -> None:
        """Return if the model would accept a request now."""
        await self._result("health")

    async def prepare_voice(self, clip: ReferenceClip, consent: ConsentRecord) -> PreparedVoice:
        """Have the model make the prompt for a voice."""
        voice: PreparedVoice = await self._result("prepare_voice", clip, consent)
        return voice

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        """Generate the speech of one sentence, in chunks. Closing the iterator cancels the call."""
        async with aclosing(self._running_process().call("speak", request)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _result(self, method: Method, *arguments: object) -> Any:
        async with aclosing(self._running_process().call(method, *arguments)) as answers:
            return await anext(answers, None)

    def _running_process(self) -> _ModelProcess:
        if self._process is None:
            raise BackendUnavailableError("the voice engine is not running")
        if self._process.has_ended:
            log.warning("the voice engine's process has ended; starting another one")
            self.begin_loading()
        return self._process


class _ModelProcess:
    """A child process that loads a model and answers calls.

    Must be created in a running event loop.

    Args:
        load: Loads the model, in the child process.
    """

    def __init__(self, load: LoadModel) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would inherit locks and threads
        ours, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, load), daemon=True)
        self._process.start()
        theirs.close()  # so that the pipe closes when the child ends
        self._loop = asyncio.get_running_loop()
        self._has_ended = False
        self._numbers = count()
        self._loading: asyncio.Future[Loaded | SpeechError] = self._loop.create_future()
        self._answers: dict[int, asyncio.Queue[Any]] = {}
        self._channel = Channel(ours, on_message=self._receive, on_end=self._notice_end)

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended, so that another one is needed."""
        return self._has_ended or not self._process.is_alive()

    async def loaded(self) -> Loaded:
        """Wait until the model is loaded; raise the `SpeechError` if that fails."""
        loading = await asyncio.shield(self._loading)
        if isinstance(loading, SpeechError):
            raise loading
        return loading

    async def call(self, method: Method, *arguments: object) -> AsyncGenerator[Any, None]:
        """Call a method of the model, and yield its answer part by part.

        Closing the iterator cancels the call. Raises what the method raises, and
        `GenerationFailedError` if the process ends before the answer is complete.
        """
        await self.loaded()
        number = next(self._numbers)
        parts = self._answers[number] = asyncio.Queue()
        self._channel.send(Call(number, method, arguments))
        try:
            while (part := await parts.get()) is not None:
                if isinstance(part, SpeechError):
                    raise part
                yield part
        finally:
            del self._answers[number]
            self._channel.send(Cancel(number))

    async def kill(self) -> None:
        """End the process at once. Running calls fail with `BackendUnavailableError`."""
        error = BackendUnavailableError("the voice engine is shutting down")
        self._end(calls_fail_with=error, loading_fails_with=error)
        await asyncio.to_thread(self._process.join)

    def _receive(self, message: Loaded | SpeechError | Answer) -> None:
        if isinstance(message, Answer):
            if message.number in self._answers:
                self._answers[message.number].put_nowait(message.part)
        elif not self._loading.done():
            self._loading.set_result(message)

    def _notice_end(self) -> None:
        with suppress(RuntimeError):  # the event loop is closed, so no call is waiting
            self._loop.call_soon_threadsafe(
                self._end,
                GenerationFailedError("the voice engine's process ended"),
                BackendUnavailableError(_ENDED_LOADING),
            )

    def _end(self, calls_fail_with: SpeechError, loading_fails_with: SpeechError) -> None:
        if self._has_ended:
            return
        self._has_ended = True
        self._process.kill()
        if not self._loading.done():
            self._loading.set_result(loading_fails_with)
        for parts in self._answers.values():
            parts.put_nowait(calls_fail_with)
