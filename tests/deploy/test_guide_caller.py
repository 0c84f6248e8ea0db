"""A caller that was written after the guide calls the service, on a machine without our code."""

from __future__ import annotations

import asyncio
import os
import sys
import wave
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.deploy.service import SAMPLE_RATE, recording

if TYPE_CHECKING:
    from tests.support.modal_server import ModalServer

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).with_name("guide_caller.py")

WITHOUT_OUR_CODE = """
import runpy, sys
sys.modules["backend"] = sys.modules["bot"] = sys.modules["tests"] = None  # importing them fails
program, *sys.argv[1:] = sys.argv[1:]
runpy.run_path(program, run_name="__main__")
"""


async def test_it_prints_the_model_clones_a_batch_and_reads_the_files(
    deployment: ModalServer, settings: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "me.wav").write_bytes(recording())

    caller = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", WITHOUT_OUR_CODE, str(PROGRAM), "me.wav"),
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], **deployment.environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await caller.communicate()

    printed = output.decode()
    assert caller.returncode == 0, printed
    name = Path(settings["MODEL_ID"]).name
    assert f"Model: {name} ({name}@" in printed
    assert "Attention: sdpa\n" in printed
    assert "GPU:        CPU, 0.0 GB\n" in printed
    assert "English, Japanese" in printed
    assert "ConsentMissingError: a voice needs consent" in printed
    for file in ("clone", "first", "second", "stream"):
        with wave.open(str(tmp_path / f"{file}.wav")) as speech:
            assert (speech.getnchannels(), speech.getsampwidth()) == (1, 2)
            assert speech.getframerate() == SAMPLE_RATE
            assert any(speech.readframes(speech.getnframes()))
