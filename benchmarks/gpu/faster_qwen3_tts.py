"""Measures faster-qwen3-tts on a checkpoint, in a process of its own: it needs transformers 5.

`python -m benchmarks.gpu.faster_qwen3_tts CHECKPOINT DEVICE FRAMES` prints a line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.gpu.texts import TEXTS, TRANSCRIPT

_LANGUAGE, _TEXT = TEXTS[0]
_TRACE = 600


def measure_other(
    checkpoint: Path, device: str, frames: int, python_path: str | None, timeout: float
) -> dict[str, Any]:
    """Measure faster-qwen3-tts.

    Args:
        checkpoint: A folder with `reference.wav` in it.
        device: torch's name of the device.
        frames: How many frames to generate.
        python_path: Where it and its packages are; None if it is installed.
        timeout: Seconds.

    Raises RuntimeError with what it said if it fails.
    """
    arguments = [str(checkpoint), device, str(frames)]
    command = [sys.executable, "-m", __name__, *arguments]
    if python_path:
        # Its packages have the names of ours, which PYTHONPATH may name: `-I` ignores that.
        program = (
            f"import runpy, sys; sys.path[:0] = [{python_path!r}, {str(Path.cwd())!r}]; "
            f"runpy.run_module({__name__!r}, run_name='__main__')"
        )
        command = [sys.executable, "-I", "-c", program, *arguments]
    done = subprocess.run(  # noqa: S603 - our own module
        command,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-_TRACE:])
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    """Measure, and print a line of JSON."""
    checkpoint, device, frames = sys.argv[1:]
    print(json.dumps(_measure(checkpoint, device, int(frames))))  # noqa: T201 - a program


def _measure(checkpoint: str, device: str, frames: int) -> dict[str, Any]:
    import torch  # noqa: PLC0415 - with the other project's packages

    _mend_qwen_tts()
    clip = str(Path(checkpoint, "reference.wav"))
    if device == "cpu":  # which it refuses: see at least that the checkpoint loads
        from qwen_tts import Qwen3TTSModel  # noqa: PLC0415

        model = Qwen3TTSModel.from_pretrained(checkpoint, device_map="cpu")
        waves, _ = model.generate_voice_clone(
            _TEXT, _LANGUAGE, ref_audio=clip, ref_text=TRANSCRIPT, max_new_tokens=4
        )
        return {"samples_of_package": len(waves[0])}
    import faster_qwen3_tts.generate as loop  # type: ignore[import-not-found] # noqa: PLC0415
    from faster_qwen3_tts import FasterQwen3TTS  # noqa: PLC0415

    timings: list[dict[str, Any]] = []
    inner = loop.fast_generate

    def timed(*arguments: Any, **named: Any) -> Any:
        codes, timing = inner(*arguments, **named)
        timings.append(timing)
        return codes, timing

    loop.fast_generate = timed
    began = time.perf_counter()
    model = FasterQwen3TTS.from_pretrained(checkpoint, device=device, dtype=torch.bfloat16)
    if hasattr(model, "warmup"):
        model.warmup()
    found: dict[str, Any] = {"start_s": time.perf_counter() - began}
    ask = {
        "text": _TEXT,
        "language": _LANGUAGE,
        "ref_audio": clip,
        "ref_text": TRANSCRIPT,
        "max_new_tokens": frames,
    }
    for _ in range(3):
        began = time.perf_counter()
        model.generate_voice_clone(**ask)
        seconds = time.perf_counter() - began
    found["frame_ms"] = timings[-1]["ms_per_step"]
    found["whole_frames_per_s"] = timings[-1]["steps"] / seconds
    first = []
    for _ in range(3):
        began = time.perf_counter()
        next(iter(model.generate_voice_clone_streaming(**ask, chunk_size=4)))
        first.append((time.perf_counter() - began) * 1_000)
    found["first_chunk_ms_with_its_reference_encoded"] = median(first)
    return found


def _mend_qwen_tts() -> None:
    """qwen-tts-hf 0.1.1.post1 asks for what transformers 5.17 no longer has."""
    try:
        from transformers import MimiConfig  # noqa: PLC0415
    except ImportError:
        return
    if not hasattr(MimiConfig(), "rope_theta"):
        MimiConfig.rope_theta = 10_000.0


if __name__ == "__main__":
    main()
