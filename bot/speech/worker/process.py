"""The engine's own process: it loads the engine and answers the bot's calls.

The heavy modules are imported on first use, so that the bot can name these functions without
loading them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from backend.contract import (
    REFERENCE_SAMPLE_RATE,
    BackendUnavailableError,
    GenerationFailedError,
    PreparedVoice,
    ReferenceUnusableError,
    SpeechError,
    SpeechRequest,
    VoicePromptModelMismatchError,
)
from bot.speech.worker.channel import (
    Answer,
    Call,
    CheckHealth,
    Line,
    NotReady,
    Prepare,
    Ready,
    Stop,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from multiprocessing.connection import Connection

    from backend.contract import BackendInfo, ConsentRecord, PcmChunk, ReferenceClip
    from backend.engine.engine import Engine
    from backend.reference.transcriber import Transcriber

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedEngine:
    """An engine, and what is to be said of it.

    Attributes:
        engine: Ready to speak.
        transcriber: Hears what reference clips say; None goes without.
        info: What the backend says of itself.
        details: What the operator may want to see in the log.
    """

    engine: Engine
    transcriber: Transcriber | None
    info: BackendInfo
    details: dict[str, str | float]


LoadEngine = Callable[[], LoadedEngine]
"""Loads an engine, or raises `BackendUnavailableError` with a sentence for the operator."""


def serve(connection: Connection, load: LoadEngine) -> None:
    """Be the engine's process, until the bot's end of the connection closes.

    Args:
        connection: The line to the bot.
        load: Called once, in this process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the bot decides
    asyncio.run(_serve(connection, load))


async def _serve(connection: Connection, load: LoadEngine) -> None:
    server = _Server(connection)
    try:
        loaded = await asyncio.to_thread(load)
    except SpeechError as error:
        server.refuse(error)
    except Exception:
        log.exception("the model could not be loaded")
        server.refuse(BackendUnavailableError("The model could not be loaded; the log says why."))
    else:
        await server.serve(loaded)


class _Server:
    """Answers the calls that come over the line, each in a task of its own."""

    def __init__(self, connection: Connection) -> None:
        # Nothing needs to be put in order, and the model may be in the middle of a long step.
        self._line = Line(connection, on_message=self._receive, on_end=lambda: os._exit(0))
        self._calls: dict[int, asyncio.Task[None]] = {}

    def refuse(self, error: SpeechError) -> None:
        """Tell the bot that there is no engine."""
        self._line.send(NotReady(error))
        self._line.flush()

    async def serve(self, loaded: LoadedEngine) -> None:
        """Answer calls. The bot makes none before it is told that the engine is ready."""
        self._desk = _Desk(loaded)
        self._line.send(Ready(loaded.info, loaded.details))
        await self._desk.has_broken.wait()
        self._line.flush()
        os._exit(1)  # the bot starts another process when it next needs one

    def _receive(self, message: Call | Stop) -> None:
        if isinstance(message, Call):
            self._calls[message.number] = asyncio.create_task(self._answer(message))
        elif message.number in self._calls:
            self._calls[message.number].cancel()

    async def _answer(self, call: Call) -> None:
        try:
            async with aclosing(self._desk.answer(call.wish)) as parts:
                async for part in parts:
                    self._line.send(Answer(call.number, part))
            self._line.send(Answer(call.number, None))
        except SpeechError as error:
            self._line.send(Answer(call.number, error))
        except Exception as error:  # noqa: BLE001 - the bot must not wait in vain
            log.error("a call failed with %s", type(error).__name__)  # noqa: TRY400 - texts stay out of logs
            self._line.send(Answer(call.number, GenerationFailedError("the voice engine failed")))
        finally:
            del self._calls[call.number]


class _Desk:
    """Puts the bot's wishes to the engine.

    Attributes:
        has_broken: Set when the model will not recover.
    """

    def __init__(self, loaded: LoadedEngine) -> None:
        from backend.reference.transcript import Hearing  # noqa: PLC0415 - the bot's process needs none
        from backend.speaker import Speaker  # noqa: PLC0415 - as above

        self.has_broken = asyncio.Event()
        self._model_id = loaded.info.model_id
        self._speaker = Speaker(loaded.engine, self._break_down)
        transcriber = loaded.transcriber
        self._hearing = Hearing(None if transcriber is None else lambda: transcriber)

    async def answer(
        self, wish: SpeechRequest | Prepare | CheckHealth
    ) -> AsyncGenerator[PcmChunk | PreparedVoice, None]:
        """Do what is wished for."""
        match wish:
            case SpeechRequest():
                async with aclosing(self._speak(wish)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            case Prepare():
                yield await self._prepare(wish.clip, wish.consent)
            case CheckHealth():
                self._speaker.check_room()

    def _speak(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        prompt = request.prompt
        if prompt.model_id != self._model_id:
            raise VoicePromptModelMismatchError(prompt.model_id, self._model_id)
        return self._speaker.stream(request, request.caller)

    async def _prepare(self, clip: ReferenceClip, consent: ConsentRecord | None) -> PreparedVoice:
        if clip.sample_rate != REFERENCE_SAMPLE_RATE or len(clip.pcm) % 2:
            raise ReferenceUnusableError("the reference clip is not mono 16-bit PCM at 24 kHz")
        samples = np.frombuffer(clip.pcm, "<i2").astype(np.float32) / np.float32(32_768)
        caller = "" if consent is None else str(consent.attested_by)
        transcript, heard = await self._hearing.listen(samples, clip.transcript)
        prompt = await self._speaker.make_prompt(samples, transcript, consent, caller)
        return PreparedVoice(prompt, heard)

    async def _break_down(self) -> None:
        self.has_broken.set()
