"""`make demo SPEECH_BACKEND=local` without weights: one sentence says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


MODEL = "Qwen/Qwen3-TTS-12Hz-0.6B-Base"
UNREACHABLE = (
    f"{MODEL} couldn't be downloaded: 127.0.0.1:9 can't be reached. "
    "Check the network, then start again."
)


@pytest.mark.slow
def test_without_a_hub_it_says_so_in_a_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bot", "demo", "--port", "0"],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "SPEECH_BACKEND": "local",
            "MODEL_ID": MODEL,
            "TRANSCRIBER_MODEL": "none",
            "HF_ENDPOINT": "http://127.0.0.1:9",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == f"{UNREACHABLE}\n"
    assert "longer the\nfirst time, when its weights are downloaded" in done.stdout
    assert not [*tmp_path.rglob("*.safetensors")]
