from __future__ import annotations

import gc
import logging
import os
from collections import Counter
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from bot.log import TALKATIVE
from tests.support import recordings
from tests.support.command_line import run
from tests.support.distribution import Distribution, together
from tests.support.free_processor import wait_for_processor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["run"]  # a fixture of several folders

TESTS = Path(__file__).parent

# Nothing that is imported is garbage. To look for it there takes each process a second.
gc.disable()

# Tests run in as many processes as there are processors, so threads would only wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"

NEEDS_TORCH = (
    "backend/engine",
    "backend/reference/test_transcriber.py",
    "backend/reference/test_transcript.py",
    "backend/scheduling/test_with_engine.py",
    "backend/test_loading.py",
    "backend/test_random_state.py",
    "backend/test_service.py",
    "backend/test_service_voices.py",
    "backend/watermark",
    "backend/weights",
    "benchmarks",
    "deploy/test_guide_caller.py",
    "deploy/test_service.py",
    "deploy/test_service_commands.py",
    "deploy/test_service_from_discord.py",
    "deploy/test_service_lifecycle.py",
    "speech/local",
)
"""Files and folders of tests that import PyTorch, which takes each process ten seconds."""

if find_spec("torch") is None:  # `make test-bot`
    collect_ignore = list(NEEDS_TORCH)


# Tracebacks are plain, as the bot logs them. To write local variables, too, takes half a second.
renderer = structlog.get_config()["processors"][-1]
assert isinstance(renderer, structlog.dev.ConsoleRenderer)
renderer.exception_formatter = structlog.dev.plain_traceback


def pytest_configure(config: pytest.Config) -> None:
    """Share speech between processes, and give Hypothesis' examples no deadline.

    Whoever needs speech first, in any run, loads a voice, which takes a processor 5 s. Some files
    need it when they are imported, which each process does before any fixture.

    How long an example takes depends on what else runs.
    """
    assert config.cache is not None
    recordings.keep_sentences_in(config.cache.mkdir("speech"))
    if config.pluginmanager.has_plugin("hypothesispytest"):
        from hypothesis import settings  # noqa: PLC0415 - half a second, for nothing in real time

        settings.register_profile("without deadlines", deadline=None)
        settings.load_profile("without deadlines")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import only files whose tests are asked for: not PyTorch for the fast ones, for example."""
    asked = config.getoption("markexpr")
    is_asked_for: Callable[[Path], bool]
    if asked.startswith("realtime"):
        is_asked_for = _is_realtime
    elif "not slow" in asked:
        is_asked_for = _needs_no_torch
    else:
        return None
    if collection_path.is_dir():  # its conftest.py may import a lot
        return not any(map(is_asked_for, collection_path.rglob("test_*.py"))) or None
    if collection_path.name.startswith("test_"):
        return not is_asked_for(collection_path) or None
    return None


@cache
def _is_realtime(path: Path) -> bool:
    return "mark.realtime" in path.read_text("utf-8")


def _needs_no_torch(path: Path) -> bool:
    return not path.relative_to(TESTS).as_posix().startswith(NEEDS_TORCH)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no process is left with it at the end."""
    seconds: Counter[str] = Counter()
    for item in items:
        mark = item.get_closest_marker("lasts")
        if mark is not None:
            group = together(item.nodeid)
            seconds[group] = max(seconds[group], mark.args[0])
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(
        key=lambda item: (
            -seconds[together(item.nodeid)],
            item.path not in slow and _needs_no_torch(item.path),
        )
    )


def pytest_collection_finish() -> None:
    """Collect garbage from now on, but not among what was imported."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin a test in real time when those that others run leave it a processor."""
    is_one_of_many = "PYTEST_XDIST_WORKER" in os.environ
    if is_one_of_many and item.get_closest_marker("realtime"):
        assert item.config.cache is not None
        wait_for_processor(item.config.cache.mkdir("processor"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Distribution:
    """Tell pytest-xdist which tests go together."""
    return Distribution(config, log)


@pytest.fixture(scope="session", autouse=True)
def _new_databases_are_copies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """To migrate a new database takes as long as to start the rest of the bot."""
    from tests.support.migrated_files import new_files_are_copies  # noqa: PLC0415 - not all need it

    with new_files_are_copies(tmp_path_factory.mktemp("migrated")):
        yield


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A test may run the command line, which sets up logging for the whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in TALKATIVE}
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
        root.handlers[:] = handlers
        root.setLevel(level)
        for name, before in levels.items():
            logging.getLogger(name).setLevel(before)
