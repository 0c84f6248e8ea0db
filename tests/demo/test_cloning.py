"""`make demo SPEECH_BACKEND=local` without weights: one sentence says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


UNREACHABLE = (
    "Qwen/Qwen3-TTS-12Hz-0.6B-Base couldn't be downloaded: 127.0.0.1:9 can't be reached. "
    "Check the network, then start again."
)
UNKNOWN = (
    "MODEL_ID must be Qwen/Qwen3-TTS-12Hz-1.7B-Base or Qwen/Qwen3-TTS-12Hz-0.6B-Base, "
    "or a folder that holds a checkpoint."
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model_id", "told"),
    [("Qwen/Qwen3-TTS-12Hz-0.6B-Base", UNREACHABLE), ("Qwen/Qwen3-TTS-12Hz-0.6B", UNKNOWN)],
)
def test_what_cannot_be_had_is_a_sentence(tmp_path: Path, model_id: str, told: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bot", "demo", "--port", "0"],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "SPEECH_BACKEND": "local",
            "MODEL_ID": model_id,
            "TRANSCRIBER_MODEL": "none",
            "HF_ENDPOINT": "http://127.0.0.1:9",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == f"{told}\n"
    assert "longer the\nfirst time, when its weights are downloaded" in done.stdout
    assert not [*tmp_path.rglob("*.safetensors")]
