"""The speech backend that uses Qwen3-TTS on a Modal GPU, as deployed by deploy_backend.py."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import aclosing, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

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
from bot.audio.clip import to_flac
from bot.speech.modal.calls import Calls
from bot.speech.modal.client import MethodCall
from bot.speech.modal.cold_start import KeepWarm

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from backend.contract import ConsentRecord, PcmChunk, ReferenceClip, SpeechRequest
    from bot.speech.backend import ColdStart
    from bot.speech.modal.client import ModalService

log = structlog.get_logger(__name__)

DEPLOYED_MODEL_ID = "Qwen/Qwen3-TTS-12Hz-1.7B-Base"
"""What a deployment has without a `MODEL_ID`: the `DEFAULT_MODEL_ID` of backend/weights/."""

SENTENCES_AT_ONCE = 4
"""How many sentences of one text are requested at once. A container batches them."""

_BOT = ""
"""The caller of the bot's own calls, which keep a container warm."""


class ModalBackend:
    """A `SleepingBackend`: Modal stops its containers while there are no requests.

    It is a `MarkingBackend`, too.

    The deployed class is looked up when it is needed. So the bot can start while Modal is down or
    nothing is deployed yet, and needs no restart after another deployment.

    Args:
        service: The deployed class.
        model_id: The model that is assumed to be deployed, until an answer names another one.
        slots: The most calls at once.
    """

    def __init__(self, service: ModalService, *, model_id: str, slots: int) -> None:
        self._model_id = model_id
        self._calls = Calls(service, slots=slots)
        self._keep_warm = KeepWarm(lambda: self._calls.result(MethodCall("health"), caller=_BOT))
        self._first_check: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start to check whether the class is deployed, without waiting. The result is logged."""
        self._first_check = asyncio.create_task(self._log_check())

    async def close(self) -> None:
        """Cancel every running call. The calls fail with `BackendUnavailableError`."""
        if self._first_check is not None:
            self._first_check.cancel()
            with suppress(asyncio.CancelledError):
                await self._first_check
        await self._keep_warm.close()
        await self._calls.close()

    def info(self) -> BackendInfo:
        """Describe the backend, as far as that is known without a call."""
        model = self._model_id.rpartition("/")[-1]
        return BackendInfo(
            name=f"{model} on Modal",
            model_id=self._model_id,
            languages=LANGUAGES,
            sentences_at_once=SENTENCES_AT_ONCE,
        )

    async def health(self) -> None:
        """Return if a call could be made now. Starts no container."""
        await self._calls.check()

    def cold_start(self) -> ColdStart | None:
        """Return how long a container has been starting, or None if none is."""
        return self._calls.cold_start()

    async def keep_awake(self, seconds: float) -> float:
        """Keep a container running for at least this long from now; return for how long.

        Raises the error that a call would.
        """
        await self._calls.check()
        return await self._keep_warm.keep(seconds)

    async def prepare_voice(self, clip: ReferenceClip, consent: ConsentRecord) -> PreparedVoice:
        """Make the voice prompt in a container. The call counts for the person who consented."""
        caller = str(consent.attested_by)
        flac = await asyncio.to_thread(to_flac, clip.pcm)
        options: dict[str, Any] = {"consent": asdict(consent), "caller": caller}
        if clip.sound_alone:  # an earlier deployment doesn't know it
            options["x_vector_only_mode"] = True
        method = MethodCall("create_voice_prompt", (flac, clip.transcript), options)
        answer = await self._calls.result(method, caller=caller)
        self._model_id = answer["model_id"]
        heard = answer["heard"]
        return PreparedVoice(
            VoicePrompt(answer["prompt"], answer["model_id"]),
            None if heard is None else Heard(**heard),
        )

    async def find_watermark(self, flac: bytes, *, caller: str) -> bool:
        """Search a recording for the mark, in a container."""
        server, _, _ = caller.partition("/")
        method = MethodCall("detect_watermark", (flac,), {})
        answer = await self._calls.result(method, caller=server)
        is_marked: bool = answer["watermarked"]
        return is_marked

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        """Generate the speech of one sentence, in chunks. Closing the iterator cancels the call."""
        # If a container is lost, Modal runs the call again in another one (see `call.RunMerger`).
        # Both runs have to give the same speech, so both need the same seed.
        seed = secrets.randbits(31) if request.seed is None else request.seed
        method = MethodCall(
            "stream_with_prompt",
            (request.text, request.language, request.prompt.data, request.max_new_tokens),
            {"seed": seed, "caller": request.caller},
        )
        try:
            server, _, _ = request.caller.partition("/")
            async with aclosing(self._calls.stream(method, caller=server)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except VoicePromptModelMismatchError as error:
            self._model_id = error.needed
            raise

    async def _log_check(self) -> None:
        try:
            await self._calls.check()
        except SpeechError as error:
            log.warning(
                "the voice engine is not there yet", failure=type(error).__name__, reason=str(error)
            )
        else:
            log.info("the voice engine is deployed")
