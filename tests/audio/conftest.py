"""A reader for uploads, and a look at the processes it leaves behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bot.audio.reference import ReferenceReader

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="session")
def reader() -> ReferenceReader:
    return ReferenceReader()


@pytest.fixture
def child_processes() -> Callable[[], set[int]]:
    """The process ids of the children since the test began, zombies included."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("needs /proc")

    def running() -> set[int]:
        children = set()
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                after_name = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(after_name[1]) == os.getpid():
                children.add(int(stat.parent.name))
        return children

    before = running()
    return lambda: running() - before
