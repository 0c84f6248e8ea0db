"""Speech by Qwen3-TTS on a Modal GPU, as deploy_backend.py deploys it."""

from __future__ import annotations

import asyncio
import io
import secrets
import wave
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

import structlog

from backend.contract import (
    LANGUAGES,
    BackendInfo,
    Heard,
    PreparedVoice,
    SpeechError,
    VoicePrompt,
    VoicePromptModelMismatchError,
)
from bot.speech.modal.calls import Calls
from bot.speech.modal.client import Ask
from bot.speech.modal.keep_warm import Warmth

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from backend.contract import ConsentRecord, PcmChunk, ReferenceClip, SpeechRequest
    from bot.speech.backend import Waking
    from bot.speech.modal.client import ModalService

log = structlog.get_logger(__name__)

SENTENCES_AT_ONCE = 4
"""Of one text. A container speaks them together."""

_OUR_OWN = ""
"""Whom the calls count for that nobody asked for."""


class ModalBackend:
    """A `SleepingBackend`: its containers are gone while nobody speaks.

    Nothing is looked up before it is needed, so the bot starts while Modal is down or nothing is
    deployed yet, and goes on after another deployment.

    Args:
        service: The deployed class.
        model_id: What is taken to be deployed there, until an answer tells.
        places: How many calls may be under way at once.
    """

    def __init__(self, service: ModalService, *, model_id: str, places: int) -> None:
        self._model_id = model_id
        self._calls = Calls(service, places=places)
        self._warmth = Warmth(lambda: self._calls.result(Ask("health"), caller=_OUR_OWN))
        self._first_look: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look whether the class is there, for the log; does not wait."""
        self._calls.open()
        self._first_look = asyncio.create_task(self._look())

    async def close(self) -> None:
        """Have every call under way stopped remotely; they fail with `BackendUnavailableError`."""
        if self._first_look is not None:
            self._first_look.cancel()
            with suppress(asyncio.CancelledError):
                await self._first_look
        await self._warmth.close()
        await self._calls.close()

    def info(self) -> BackendInfo:
        """Say what this backend is, as far as is known without asking."""
        model = self._model_id.rpartition("/")[-1]
        return BackendInfo(
            name=f"{model} on Modal",
            model_id=self._model_id,
            languages=LANGUAGES,
            sentences_at_once=SENTENCES_AT_ONCE,
        )

    async def health(self) -> None:
        """Return if a call could be made now. Wakes nothing up."""
        await self._calls.check()

    def waking(self) -> Waking | None:
        """Say how long a container has been starting, or None if none is."""
        return self._calls.waking()

    async def keep_awake(self, seconds: float) -> None:
        """Keep a container up from now on for that long. Raises what a call would."""
        await self._calls.check()
        await self._warmth.keep(seconds)

    async def prepare_voice(self, clip: ReferenceClip, consent: ConsentRecord) -> PreparedVoice:
        """Have a container learn the voice. Counts for the person who consented."""
        caller = str(consent.attested_by)
        wav = await asyncio.to_thread(_as_wav, clip)
        ask = Ask(
            "create_voice_prompt",
            (wav, clip.transcript),
            {"consent": consent, "caller": caller},
        )
        answer = await self._calls.result(ask, caller=caller)
        self._model_id = answer["model_id"]
        heard = answer["heard"]
        return PreparedVoice(
            VoicePrompt(answer["prompt"], answer["model_id"]),
            None if heard is None else Heard(heard["text"], heard["language"], heard["differs"]),
        )

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        """Speak one sentence, chunk by chunk. Closing the iterator stops the work."""
        # If a container is lost, another one begins the call anew (see `modal_seam`). What they say
        # only fits together if both draw the same chances.
        seed = secrets.randbits(31) if request.seed is None else request.seed
        ask = Ask(
            "stream_with_prompt",
            (request.text, request.language, request.prompt.data),
            {"seed": seed, "caller": request.caller},
        )
        try:
            server, _, _ = request.caller.partition("/")
            async with aclosing(self._calls.stream(ask, caller=server)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except VoicePromptModelMismatchError as error:
            self._model_id = error.needed
            raise

    async def _look(self) -> None:
        try:
            await self._calls.check()
        except SpeechError as error:
            log.warning(
                "the voice engine is not there yet", failure=type(error).__name__, reason=str(error)
            )
        else:
            log.info("the voice engine is deployed")


def _as_wav(clip: ReferenceClip) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(clip.sample_rate)
        writer.writeframes(clip.pcm)
    return file.getvalue()
