"""Loaders of scripted engines, for the engine's process to call."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, cast

from backend.contract import BackendInfo, BackendUnavailableError
from bot.speech.worker.process import LoadedEngine
from tests.backend.scripted_engine import CRASH_MESSAGE, ScriptedEngine, ScriptedJob

if TYPE_CHECKING:
    from backend.contract import SpeechRequest
    from backend.engine.engine import Engine
    from tests.backend.scripted_engine import ScriptedChunk

INFO = BackendInfo(name="Scripted engine", model_id="scripted/1", languages=("Auto", "English"))
NO_WEIGHTS = "There are no weights, and no network to get them from."


class SlowEngine(ScriptedEngine):
    """Crashes over the word "crash"."""

    def chunk(self, number: int, job: ScriptedJob, *, is_last: bool) -> ScriptedChunk:
        if job.text.endswith("crash"):
            raise RuntimeError(CRASH_MESSAGE)
        return super().chunk(number, job, is_last=is_last)


def load() -> LoadedEngine:
    return LoadedEngine(
        cast("Engine", SlowEngine(step_seconds=0.005)),
        None,
        cast("type[SpeechRequest]", ScriptedJob),
        INFO,
        {"device": "none"},
    )


def load_without_weights() -> LoadedEngine:
    raise BackendUnavailableError(NO_WEIGHTS)


def load_with_a_defect() -> LoadedEngine:
    raise KeyError("config.json")


def load_until_memory_runs_out() -> LoadedEngine:
    os._exit(9)


def load_for_ever() -> LoadedEngine:
    time.sleep(600)
    raise AssertionError
