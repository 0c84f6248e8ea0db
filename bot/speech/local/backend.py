"""Speech by Qwen3-TTS on this machine's own processor or GPU.

The engine lives in a process of its own: torch holds the interpreter's lock for long stretches,
which would stall the bot's event loop, and if it runs out of memory the bot shall live on.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import structlog

from backend.contract import (
    BackendUnavailableError,
    GenerationFailedError,
    PcmChunk,
    PreparedVoice,
)
from bot.speech.worker.channel import CheckHealth, Prepare
from bot.speech.worker.host import EngineProcess

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from backend.contract import BackendInfo, ConsentRecord, ReferenceClip, SpeechRequest
    from bot.speech.worker.process import LoadEngine

log = structlog.get_logger(__name__)


class LocalBackend:
    """A `SpeechBackend` that clones voices on this machine.

    Calls that come together are spoken together. A process that dies takes the calls with it that
    it was working on; the next call starts another one.

    Args:
        load: Loads the engine, in the child process.
    """

    def __init__(self, load: LoadEngine) -> None:
        self._load = load
        self._process: EngineProcess | None = None
        self._info: BackendInfo | None = None

    async def start(self) -> None:
        """Wait until the engine is loaded, which the first time includes a download of gigabytes.

        Raises `BackendUnavailableError` with a sentence for the operator.
        """
        self._process = EngineProcess(self._load)
        try:
            ready = await self._process.ready()
        except BaseException:
            await self.close()
            raise
        self._info = ready.info
        log.info("the voice engine is loaded", **ready.details)

    async def close(self) -> None:
        """End the process; calls under way fail with `BackendUnavailableError`."""
        process, self._process = self._process, None
        if process is not None:
            await process.end()

    def info(self) -> BackendInfo:
        """Say what this backend is, once it has started."""
        if self._info is None:
            raise BackendUnavailableError("the voice engine has not started")
        return self._info

    async def health(self) -> None:
        """Return if a request would be served now; one that is busy but has room is well."""
        async with aclosing(self._running_process().answers(CheckHealth())) as nothing:
            async for _ in nothing:
                pass

    async def prepare_voice(self, clip: ReferenceClip, consent: ConsentRecord) -> PreparedVoice:
        """Encode the reference: its codec frames if its transcript is known, and its x-vector."""
        async with aclosing(self._running_process().answers(Prepare(clip, consent))) as voices:
            async for voice in voices:
                if isinstance(voice, PreparedVoice):
                    return voice
        raise GenerationFailedError("the voice engine made no voice prompt")

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        """Speak one sentence, chunk by chunk. Closing the iterator stops the work."""
        async with aclosing(self._running_process().answers(request)) as chunks:
            async for chunk in chunks:
                if isinstance(chunk, PcmChunk):
                    yield chunk

    def _running_process(self) -> EngineProcess:
        if self._process is None:
            raise BackendUnavailableError("the voice engine is not running")
        if self._process.is_over:
            log.warning("the voice engine's process has ended; starting another one")
            self._process = EngineProcess(self._load)
        return self._process
