"""Speech by Qwen3-TTS on this machine: the service that Modal hosts, in a process of its own."""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from backend.contract import BackendInfo, BackendUnavailableError, SpeechError
from bot.extras import install_command
from bot.speech.worker.host import WorkerBackend
from bot.speech.worker.watch import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from backend.contract import (
        ConsentRecord,
        PcmChunk,
        PreparedVoice,
        ReferenceClip,
        SpeechRequest,
    )
    from backend.loading import ServiceOptions
    from backend.service import SpeechService
    from bot.settings import Settings

INSTALL_HINT = (
    f"Speaking on this machine needs more packages. Install them: {install_command('local')}"
)

SENTENCES_AT_ONCE = 4
"""How many sentences of one text to request at once. The engine batches them."""

PROMPT_SECONDS = 600.0
SPEECH_SECONDS = 900.0
"""The deadlines of a voice prompt and a sentence, with the time that they wait.

They suit two slow cores, on which a sentence of 300 characters takes more than a minute. `Limits`
allows a little more, since the model should give up first and say why.
"""

_NO_TRANSCRIBER = "none"
_MAX_REASON = 200  # characters


def open_local_backend(settings: Settings) -> WorkerBackend:
    """Build the backend; its first start downloads gigabytes of weights."""
    options = service_options(settings)
    limits = Limits()
    if options.plain_package:  # it speaks a whole sentence in one step
        limits = replace(limits, step=limits.sentence)
    return WorkerBackend(partial(load_model, options), limits=limits)


def service_options(settings: Settings) -> ServiceOptions:
    """Say what the settings load."""
    from backend.loading import ServiceOptions  # noqa: PLC0415 - only where models run here

    transcriber = settings.transcriber_model
    return ServiceOptions(
        model_id=settings.model_id,
        weights_folder=settings.weights_folder,
        transcriber=None if transcriber == _NO_TRANSCRIBER else transcriber,
        require_consent=settings.require_consent,
        plain_package=settings.engine == "reference",
        text_layout=settings.text_layout,
        cuda_graphs=settings.cuda_graphs,
        weights=settings.weights,
        load_transcriber_now=True,
        prompt_seconds=PROMPT_SECONDS,
        speech_seconds=SPEECH_SECONDS,
    )


def load_model(options: ServiceOptions, on_breakdown: Callable[[], Awaitable[None]]) -> LocalModel:
    """Load the service; to be called in the process that will host it.

    Raises `BackendUnavailableError` with a sentence for the operator.
    """
    try:
        from backend.loading import (  # noqa: PLC0415 - heavy, and an optional extra
            checked_checkpoint,
            open_service,
        )
        from bot.speech.local.weights import with_weights  # noqa: PLC0415 - as above

        _lock_bars_by_thread()
        options = with_weights(options)
        began = time.monotonic()
        checked_checkpoint(options)  # before the imports, which take many seconds
        _import_quietly()
        service = open_service(options, on_breakdown)
        return LocalModel(service, load_seconds=time.monotonic() - began)
    except ModuleNotFoundError as error:
        raise BackendUnavailableError(f"{INSTALL_HINT} ({error.name} is missing)") from error
    except SpeechError:
        raise
    except Exception as error:
        if not Path(options.model_id).is_dir():
            raise  # a published checkpoint is right, so something else is wrong
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:_MAX_REASON]}"
        raise BackendUnavailableError(
            f"{options.model_id}: the checkpoint can't be loaded ({reason}). "
            "Copy or download it again, or name another with MODEL_ID."
        ) from error


def _lock_bars_by_thread() -> None:
    """Give tqdm, which draws progress bars, a lock of this process.

    Its own one is a semaphore of the system. Nobody gives that back when the bot ends this process,
    and Python then prints a warning.
    """
    from tqdm import tqdm  # noqa: PLC0415 - only where models run here

    tqdm.set_lock(threading.RLock())


def _import_quietly() -> None:
    """Import the engine, without what its packages say about programs that it doesn't use.

    At its import, qwen-tts prints that there is no flash-attn and no SoX, and a shell says so, too.
    """
    streams = {}
    with Path(os.devnull).open("w") as nowhere:
        for descriptor in (1, 2):
            with suppress(OSError):  # it is closed
                streams[descriptor] = os.dup(descriptor)
                os.dup2(nowhere.fileno(), descriptor)
        gc.disable()  # nothing that is imported is garbage, and to look for it takes a second
        try:
            import backend.engine.engine  # noqa: F401, PLC0415 - heavy
        finally:
            gc.freeze()
            gc.enable()
            print(end="", flush=True)  # noqa: T201 - what waits in the buffer goes nowhere, too
            for descriptor, stream in streams.items():
                os.dup2(stream, descriptor)
                os.close(stream)
    # It warns of a wrong checkpoint by naming each weight; the engine says it in a sentence.
    logging.getLogger("transformers").setLevel(logging.ERROR)


class LocalModel:
    """A `HostedModel`: the methods of `SpeechBackend` on a `SpeechService`.

    Args:
        service: The service.
        load_seconds: How long it took to open, without a download.
    """

    def __init__(self, service: SpeechService, *, load_seconds: float) -> None:
        self._service = service
        self._load_seconds = load_seconds

    def info(self) -> BackendInfo:
        """Say what the backend is."""
        loaded = self._service.info()
        return BackendInfo(
            name=f"{loaded['model_name']} on this machine",
            model_id=loaded["model_id"],
            languages=tuple(loaded["supported_languages"]),
            sentences_at_once=SENTENCES_AT_ONCE,
        )

    def step_under_way(self) -> int | None:
        """Return the number of the model's present step, or None if it has nothing to do."""
        return self._service.step_under_way

    def details(self) -> dict[str, str | float]:
        """Describe what was loaded, for the log."""
        loaded = self._service.info()
        return {
            "model": loaded["model_id"],
            "device": loaded["gpu"],
            "weights": loaded["weights"],
            "weights_reason": loaded["weights_reason"],
            "dtype": loaded["dtype"],
            "loop": loaded["loop"],
            "attention": loaded["attention_implementation"],
            "text_layout": loaded["text_layout"],
            "cuda_graphs": loaded["cuda_graphs"],
            "cuda_graphs_reason": loaded["cuda_graphs_reason"],
            "gigabytes": round(loaded["memory_bytes"] / 1e9, 2),
            "load_seconds": round(self._load_seconds, 1),
            "transcriber": "with" if loaded["transcribes"] else "without",
        }

    async def health(self) -> None:
        """Return if a request would be accepted now, even if it had to wait."""
        self._service.check_room()

    async def prepare_voice(self, clip: ReferenceClip, consent: ConsentRecord) -> PreparedVoice:
        """Make the prompt for a voice. The caller is the person who consented."""
        caller = "" if consent is None else str(consent.attested_by)
        return await self._service.prepare_voice(clip, consent, caller=caller)

    async def find_watermark(self, flac: bytes, _caller: str) -> bool:
        """Search a recording for the mark. One is searched at a time."""
        answer = await self._service.detect_watermark(flac)
        return answer["watermarked"]

    def speak(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        """Speak one sentence. Requests under way at the same time are batched."""
        return self._service.stream(request)
