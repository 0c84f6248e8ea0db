"""Loaders of scripted engines, for the engine's process to call."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from backend.contract import BackendInfo, BackendUnavailableError
from bot.speech.local_server import LoadedEngine
from tests.backend.scripted_engine import CRASH_MESSAGE, ScriptedEngine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.engine import SpeechChunk

INFO = BackendInfo(name="Scripted engine", model_id="scripted/1", languages=("Auto", "English"))
NO_WEIGHTS = "There are no weights, and no network to get them from."


class SlowEngine(ScriptedEngine):
    """Takes 5 ms for a chunk, and crashes over the word "crash"."""

    def stream(self, jobs: Any, *, is_cancelled: Any) -> Iterator[SpeechChunk]:
        for job in jobs:
            if job.text.endswith("crash"):
                self.crash_at[job.text] = RuntimeError(CRASH_MESSAGE)
        for chunk in super().stream(jobs, is_cancelled=is_cancelled):
            time.sleep(0.005)
            yield chunk


def load() -> LoadedEngine:
    return LoadedEngine(SlowEngine(), INFO, {"device": "none"})  # type: ignore[arg-type]


def load_without_weights() -> LoadedEngine:
    raise BackendUnavailableError(NO_WEIGHTS)


def load_with_a_defect() -> LoadedEngine:
    raise KeyError("config.json")


def load_until_memory_runs_out() -> LoadedEngine:
    os._exit(9)


def load_for_ever() -> LoadedEngine:
    time.sleep(600)
    raise AssertionError
