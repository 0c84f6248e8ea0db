"""`python -m bot` as an operator types it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple, Protocol

import pytest

if TYPE_CHECKING:
    from pathlib import Path


class Done(NamedTuple):
    """How a command ended, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


class Run(Protocol):
    """Runs `python -m bot` with arguments, in a folder of its own, as this process."""

    def __call__(self, *arguments: str, **environment: str) -> Done: ...


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    from bot import __main__ as command_line  # noqa: PLC0415 - every process has this fixture

    monkeypatch.chdir(tmp_path)
    for name in os.environ.keys() - {"PATH", "HOME"}:
        monkeypatch.delenv(name)

    def run(*arguments: str, **environment: str) -> Done:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        try:
            returncode = command_line.main([*arguments])
        except SystemExit as ended:  # as argparse does
            returncode = int(ended.code or 0)
        return Done(returncode, *capsys.readouterr())

    return run
