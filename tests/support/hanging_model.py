"""A model for a process of its own, with accidents: a text names the way and the moment.

It needs little more than Python, so that its process starts quickly.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing.connection
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from backend.contract import BackendInfo, PcmChunk, PreparedVoice, VoicePrompt

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from backend.contract import ConsentRecord, ReferenceClip, SpeechRequest
    from bot.speech.worker.process import LoadModel

MODEL_ID = "hanging/1"
CHUNKS = ("first", "middle", "last")
SAMPLE_RATE = 24_000
CHUNK_SECONDS = 0.3
PATIENT_SECONDS = 0.8
UNTIL_SENT_SECONDS = 0.3
"""So long after the step before, its chunk has reached the bot."""

LONG = 600.0


def _block_for_ever(*_arguments: object) -> None:
    time.sleep(LONG)


def _block(method: str) -> None:
    """Let the pipe to the bot never again take or give a message."""
    setattr(multiprocessing.connection.Connection, method, _block_for_ever)


def _spin() -> None:
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        pass


WAYS: dict[str, Callable[[], Any]] = {
    "stopped": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "asleep": partial(time.sleep, LONG),  # without the interpreter's lock
    "locked": lambda: ctypes.PyDLL(None).sleep(int(LONG)),  # native code that holds the lock
    "spinning": _spin,
    "mute": partial(_block, "send"),
    "deaf": partial(_block, "recv"),
    "dead": lambda: os.kill(os.getpid(), signal.SIGKILL),
}
"""What may happen to the process."""


class Accidents:
    """How many accidents may still happen, and whether loading has some. Kept in a folder.

    Args:
        folder: Where; the process and the test share it.
    """

    def __init__(self, folder: Path) -> None:
        self._left = folder / "left"
        self._loading = folder / "loading"

    def allow(self, times: int) -> None:
        """Let the next texts that name an accident have it, so many times."""
        self._left.write_text(str(times))

    def at_loading(self, way: str) -> None:
        """Let the next processes have an accident, or wait while this is "waits"."""
        self._loading.write_text(way)

    def happen(self, text: str, moment: str) -> None:
        """Have the accident that a text names, if it names this moment."""
        words = text.lower().strip(".").split()
        if moment not in words or not self._left.exists():
            return
        left = int(self._left.read_text())
        for way in WAYS.keys() & set(words):
            if left:
                self.allow(left - 1)
                time.sleep(UNTIL_SENT_SECONDS)
                WAYS[way]()

    def happen_at_loading(self) -> None:
        """Have the accident of loading, or wait."""
        while (way := self._loading.read_text() if self._loading.exists() else "") == "waits":
            time.sleep(0.02)
        if way:
            WAYS[way]()


def loader(folder: Path) -> LoadModel:
    """Return what loads the model; `Accidents(folder)` decides about it."""
    return partial(_load, folder)


def _load(folder: Path, _on_breakdown: object) -> HangingModel:
    accidents = Accidents(folder)
    accidents.happen_at_loading()
    return HangingModel(accidents)


class HangingModel:
    """A `HostedModel` that says three beeps to everything, each in a step of its own thread."""

    def __init__(self, accidents: Accidents) -> None:
        self._accidents = accidents
        self._thread = ThreadPoolExecutor(1)
        self._steps = 0
        self._is_working = False

    def info(self) -> BackendInfo:
        return BackendInfo("Hanging", MODEL_ID, ("Auto", "English"))

    def details(self) -> dict[str, str | float]:
        return {"process": os.getpid()}

    def step_under_way(self) -> int | None:
        return self._steps if self._is_working else None

    async def health(self) -> None:
        return

    async def prepare_voice(self, clip: ReferenceClip, consent: ConsentRecord) -> PreparedVoice:
        del consent
        await self._take_step(clip.transcript or "", "prompt")
        return PreparedVoice(VoicePrompt(b"beep", MODEL_ID))

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        for moment in CHUNKS:
            await self._take_step(request.text, moment)
            if "forgotten" in request.text:
                await asyncio.Event().wait()
            yield PcmChunk(beep(), SAMPLE_RATE)

    async def _take_step(self, text: str, moment: str) -> None:
        def work() -> None:
            self._steps += 1
            self._is_working = True
            self._accidents.happen(text, moment)
            if "patiently" in text:
                time.sleep(PATIENT_SECONDS)
            self._is_working = False

        await asyncio.get_running_loop().run_in_executor(self._thread, work)


def beep() -> bytes:
    """A square wave; mono s16le."""
    wave = (8_000).to_bytes(2, "little", signed=True) * 60
    wave += (-8_000).to_bytes(2, "little", signed=True) * 60
    return wave * round(CHUNK_SECONDS * SAMPLE_RATE / 120)
