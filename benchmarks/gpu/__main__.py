"""Measure the engine on a GPU, in about six minutes: `python -m benchmarks.gpu`.

Checkpoints with random weights of the published shapes are made on the spot, so nothing has to be
downloaded. Every step is guarded: one that fails is reported, and the next one is done. The figures
are compared with targets for an H100. `--rehearse` does all steps in miniature on a CPU, to see
that they work; its times say nothing about a GPU.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import logging
import shutil
import subprocess
import sys
import tempfile
import wave
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from backend.contract import REFERENCE_SAMPLE_RATE
from benchmarks.gpu import codes, latency, prompts, sound, speed
from benchmarks.gpu.faster_qwen3_tts import measure_other
from benchmarks.gpu.machine import environment
from benchmarks.gpu.models import Models, reference
from benchmarks.gpu.report import Report
from benchmarks.gpu.setup import Setup
from benchmarks.gpu.targets import TARGETS
from benchmarks.gpu.timing import Clock
from benchmarks.measuring import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.watermark.watermark import Watermarker

MODELS = ("0.6B", "1.7B")
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of this name is memory on Linux
_CHECKPOINT_BYTES = 12e9


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the table, the targets and a line of JSON.

    Args:
        arguments: Those of the command line; None for the ones that the program was started with.
    """
    options = _options(arguments)
    if not (options.rehearse or torch.cuda.is_available()):
        raise SystemExit("there is no GPU; `--rehearse` does all steps in miniature on a CPU")
    logging.basicConfig(level=logging.ERROR, format="[%(relativeCreated)d ms] %(message)s")
    logging.getLogger("backend").setLevel(logging.INFO)
    faulthandler.dump_traceback_later(options.seconds + 60, exit=True)
    options.out.mkdir(parents=True, exist_ok=True)
    report = Report(
        options.out / ("gpu_again.json" if options.skip else "gpu.json"),
        seconds=options.seconds,
        only=options.only,
        skipped=options.skip,
    )
    folder = Path(tempfile.mkdtemp(prefix="benchmark-", dir=_roomy_folder()))
    try:
        _measure(options, report, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        faulthandler.cancel_dump_traceback_later()
        _print(report)
    if report.is_lost and not options.skip:
        _go_on(options, report)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--rehearse", action="store_true", help="in miniature, on a CPU")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--only", nargs="+", default=[], help="steps whose names have such a word")
    parser.add_argument("--skip", nargs="+", default=[], help="steps to leave out")
    parser.add_argument("--seconds", type=float, default=330.0, help="no step begins after that")
    parser.add_argument("--out", type=Path, default=Path(), help="a folder for gpu.json")
    parser.add_argument("--other-path", help="where faster-qwen3-tts and its packages are")
    return parser.parse_args(arguments)


def _measure(options: argparse.Namespace, report: Report, folder: Path) -> None:
    if options.rehearse:
        torch.set_num_threads(1)
    device = torch.device("cpu" if options.rehearse else "cuda:0")
    setup = Setup(Models(folder, device, is_miniature=options.rehearse), Clock(device), report)
    report.step("environment", partial(environment, setup), is_needed=True)
    marker: list[Watermarker] = []

    def watermark() -> dict[str, Any]:
        from backend.watermark.watermark import Watermarker  # noqa: PLC0415 - may be missing

        marker.append(Watermarker(str(device)))
        return sound.watermark(setup, marker[0])

    report.step("watermark", watermark, needs=15)
    for name in options.models:
        _measure_model(options, setup, name, marker)


def _measure_model(
    options: argparse.Namespace, setup: Setup, name: str, marker: list[Watermarker]
) -> None:
    """Measure a model: all of it for the first one, and for others what tells their speed."""
    step, is_first = setup.report.step, name == options.models[0]

    def build() -> dict[str, Any]:
        return {"gigabytes": setup.models.build(name)}

    if not step(f"{name} build", build, needs=20, is_needed=True):
        return
    rows = (1, 2, 3) if options.rehearse else (1, 4, 16, 32, 64) if is_first else (1, 16, 32)
    rate = float(setup.report.steps["environment"].get("read_rate", 1.0))
    if step(f"{name} load", partial(speed.load, setup, name, rate), needs=20, is_needed=True):
        step(f"{name} one row", partial(speed.one_row, setup, name), needs=15)
        step(f"{name} prompts", partial(prompts.prompts, setup, name), needs=8)
        step(f"{name} codec", partial(sound.codec, setup, name), needs=8)
        step(f"{name} rows", partial(speed.many_rows, setup, name, rows), needs=15)
        step(f"{name} long row", partial(speed.long_row, setup, name))
        step(f"{name} profile", partial(speed.profiles, setup, name), needs=15)
        step(f"{name} unmarked first sound", partial(latency.first_sound, setup, name, None))
        if marker:
            first_sound = partial(latency.first_sound, setup, name, marker[0])
            step(f"{name} first sound", first_sound, needs=20)
        setup.models.forget()
    if is_first:
        for dtype in ("float32", "bfloat16"):
            work = partial(codes.greedy_codes, setup, name, dtype)
            step(f"{name} greedy codes {dtype}", work, needs=20)
        step(f"{name} state errors", partial(codes.state_errors, setup, name), needs=15)
    if options.other_path or not options.rehearse:
        other = partial(_measure_other, options, setup, name)
        step(f"{name} faster-qwen3-tts", other, needs=40)
    setup.models.remove(name)


def _measure_other(options: argparse.Namespace, setup: Setup, name: str) -> dict[str, Any]:
    place, report = setup.models.folder / name, setup.report
    with wave.open(str(place / "reference.wav"), "wb") as file:
        file.setparams((1, 2, REFERENCE_SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes((reference() * 32_767).astype("<i2").tobytes())
    found = measure_other(
        place,
        str(setup.clock.device),
        8 if options.rehearse else 120,
        options.other_path,
        max(30.0, report.remaining() + 30),
    )
    ours = report.figures.get(f"{name} frame ms")
    if ours and "frame_ms" in found:
        report.figures[f"{name} times faster-qwen3-tts"] = found["frame_ms"] / ours
    report.line(f"{name} faster-qwen3-tts", json.dumps(found))
    return found


def _print(report: Report) -> None:
    said = [
        "",
        table(["what", "value"], report.lines()) if report.lines() else "",
        "",
        *(target.judge(report.figures) for target in TARGETS),
        f"failed: {report.failed() or 'nothing'}",
        json.dumps(report.figures),
    ]
    print("\n".join(said), flush=True)  # noqa: T201 - a command-line program


def _go_on(options: argparse.Namespace, report: Report) -> None:
    """Do the rest in another process, because this one has lost its GPU."""
    report.say("this process has lost its GPU: the rest is done in another one")
    command = [
        *(sys.executable, "-m", "benchmarks.gpu", "--models", *options.models),
        *("--seconds", str(max(30.0, report.remaining())), "--out", str(options.out)),
        *("--skip", *report.steps),
        *(["--only", *options.only] if options.only else []),
        *(["--other-path", options.other_path] if options.other_path else []),
    ]
    subprocess.run(command, check=False)  # noqa: S603 - our own module


def _roomy_folder() -> Path | None:
    """Return a folder in memory if it has room for checkpoints; None is the usual one."""
    if not _SHARED_MEMORY.is_dir():
        return None
    has_room = shutil.disk_usage(_SHARED_MEMORY).free > _CHECKPOINT_BYTES
    return _SHARED_MEMORY if has_room else None


if __name__ == "__main__":
    main()
