"""Functions that load a scripted engine, or fail to, in the process that hosts it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from backend.contract import BackendUnavailableError
from bot.speech.local.backend import LocalModel
from tests.backend.scripted_engine import CRASH_MESSAGE, ScriptedEngine, scripted_service

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from backend.contract import SpeechRequest
    from backend.engine.interface import SpeechChunk

MODEL_ID = "scripted/1"
NO_WEIGHTS = "There are no weights, and no network to get them from."


class SlowEngine(ScriptedEngine):
    """Crashes over the word "crash", and hangs over "hang"."""

    def chunk(self, number: int, request: SpeechRequest, *, is_last: bool) -> SpeechChunk:
        if request.text.endswith("crash"):
            raise RuntimeError(CRASH_MESSAGE)
        if request.text.endswith("hang"):
            time.sleep(600)
        return super().chunk(number, request, is_last=is_last)


def load(on_breakdown: Callable[[], Awaitable[None]]) -> LocalModel:
    service = scripted_service(SlowEngine(step_seconds=0.005), on_breakdown=on_breakdown)
    return LocalModel(service, load_seconds=0.0)


def load_without_weights(_on_breakdown: object) -> LocalModel:
    raise BackendUnavailableError(NO_WEIGHTS)


def load_with_a_defect(_on_breakdown: object) -> LocalModel:
    raise KeyError("config.json")


def load_until_memory_runs_out(_on_breakdown: object) -> LocalModel:
    os._exit(9)


def load_for_ever(_on_breakdown: object) -> LocalModel:
    time.sleep(600)
    raise AssertionError
