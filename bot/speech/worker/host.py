"""Runs a speech model in a child process of the bot.

A model holds the GIL for long periods, which would block the bot's event loop. And if the model
runs out of memory or hangs, the bot survives.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import structlog

from backend.contract import BackendUnavailableError
from bot.speech.backend import ColdStart
from bot.speech.errors import SpeechInterruptedError
from bot.speech.worker.model_process import ModelProcess
from bot.speech.worker.restarts import Restarts
from bot.speech.worker.watch import Limits

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

_NOT_STARTED = "The voice engine's process can't be started. Free some memory, then start again."

NOTICE_SECONDS = 3.0
"""A start that takes less time is not worth a word."""


class WorkerBackend:
    """A `StartingBackend` whose model runs in a child process; a `MarkingBackend` if that marks.

    If the child dies, or hangs by the `limits`, it is replaced. A call that has had no part of its
    answer by then is repeated once; others fail with `SpeechInterruptedError`. If the children keep
    failing, there is a pause before the next one, in which calls fail with
    `BackendKeepsFailingError`. The child ends with the bot's process, even if that crashes.

    Args:
        load: Loads the model, in the child process.
        limits: How long the child may take for what.
        usual_start_seconds: How long loading usually takes, as long as this isn't known better.
    """

    def __init__(
        self,
        load: LoadModel,
        *,
        limits: Limits | None = None,
        usual_start_seconds: float = 60.0,
    ) -> None:
        self._load = load
        self._limits = limits or Limits()
        self._usual_start_seconds = usual_start_seconds
        self._restarts = Restarts()
        self._process: ModelProcess | None = None
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

    def begin_loading(self) -> ModelProcess:
        """Start the process without waiting for the model. The first call waits for it instead."""
        return self._start_process(self._limits.first_load)

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

    def cold_start(self) -> ColdStart | None:
        """Return how long the model has been loading, or None if it isn't."""
        process = self._process
        if process is None or not process.is_loading or process.loading_seconds < NOTICE_SECONDS:
            return None
        return ColdStart(process.loading_seconds, self._usual_start_seconds)

    async def health(self) -> None:
        """Return if the model would accept a request now, even if it is busy.

        Raises the error that a request would get, `BackendStartingError` while the model is being
        loaded, and `BackendNotAnsweringError` if the process gives no answer or no step of the
        model ends.
        """
        try:
            await self._running_process().health()
        except SpeechInterruptedError:  # it ended just now
            await self._running_process().health()

    async def prepare_voice(self, clip: ReferenceClip, consent: ConsentRecord) -> PreparedVoice:
        """Have the model make the prompt for a voice."""
        async with aclosing(self._call("prepare_voice", clip, consent)) as answers:
            voice: PreparedVoice = await anext(answers)
            return voice

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        """Generate the speech of one sentence, in chunks. Closing the iterator cancels the call."""
        async with aclosing(self._call("speak", request)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def find_watermark(self, flac: bytes, *, caller: str) -> bool:
        """Have the model search a recording for the mark, if it is one that marks its speech."""
        async with aclosing(self._call("find_watermark", flac, caller)) as answers:
            is_marked: bool = await anext(answers)
            return is_marked

    async def _call(self, method: Method, *arguments: object) -> AsyncGenerator[Any, None]:
        """Call the model, once more if its process fails before the first part of the answer."""
        has_answered = is_repeated = False
        while True:
            try:
                async with aclosing(self._running_process().call(method, *arguments)) as parts:
                    async for part in parts:
                        has_answered = True
                        yield part
            except SpeechInterruptedError as error:
                if has_answered or is_repeated:
                    raise
                log.warning("a call is repeated", method=method, reason=str(error))
                is_repeated = True
            else:
                self._restarts.succeeded()
                return

    def _running_process(self) -> ModelProcess:
        """Return the process, after starting another one if it has ended.

        Raises `BackendKeepsFailingError` if it is too early for that.
        """
        if self._process is None:
            raise BackendUnavailableError("the voice engine is not running")
        if self._process.has_ended:
            self._restarts.check()
            return self._start_process(self._limits.load_again(self._usual_start_seconds))
        return self._process

    def _start_process(self, load_seconds: float) -> ModelProcess:
        try:
            self._process = ModelProcess(
                self._load, self._limits, load_seconds=load_seconds, on_end=self._note_end
            )
        except OSError as error:
            self._restarts.failed()
            raise BackendUnavailableError(f"{_NOT_STARTED} ({error.strerror})") from error
        return self._process

    def _note_end(self, process: ModelProcess) -> None:
        """Count a process that has ended. Start another one at once, if it is the first to fail."""
        if process is not self._process:
            return
        self._restarts.failed()
        if not process.has_loaded:  # who waits for it is told why, and the next call tries again
            log.info("the voice engine's process has ended before it was loaded")
            return
        log.warning("the voice engine's process has ended")
        self._usual_start_seconds = max(process.seconds_without_download, 1.0)
        try:
            self._running_process()
        except BackendUnavailableError as error:
            log.warning("the voice engine is not started again yet", reason=str(error))
