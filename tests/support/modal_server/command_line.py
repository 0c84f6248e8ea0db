"""The stock `modal` command, as a person would run it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.modal_server.surroundings import OF_THIS_MACHINE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TIMEOUT_SECONDS = 180


@dataclass(frozen=True)
class Finished:
    """What a command did.

    Attributes:
        exit_code: 0 if all went well.
        output: What it wrote, to both outputs.
    """

    exit_code: int
    output: str


def run_modal(arguments: tuple[str, ...], folder: Path, environment: Mapping[str, str]) -> Finished:
    """Run `modal` with these arguments in a folder, and wait for its end."""
    machine = {name: os.environ[name] for name in OF_THIS_MACHINE if name in os.environ}
    done = subprocess.run(  # noqa: S603 - a test's own arguments
        [sys.executable, "-m", "modal", *arguments],
        cwd=folder,
        env={**machine, "PYTHONIOENCODING": "utf-8", "COLUMNS": "200", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    return Finished(done.returncode, done.stdout)
