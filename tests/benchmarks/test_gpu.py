"""The GPU benchmark, rehearsed in miniature on a CPU, and its verdicts."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest
import torch

from benchmarks.gpu.__main__ import main
from benchmarks.gpu.report import Report
from benchmarks.gpu.targets import TARGETS, Target

if TYPE_CHECKING:
    from pathlib import Path


def test_all_of_it_can_be_rehearsed_without_a_gpu(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "backend")  # the program sets it, and afterwards it is as before
    main(["--rehearse", "--models", "0.6B", "--out", str(tmp_path)])
    lines = capfd.readouterr().out.splitlines()
    assert "failed: nothing" in lines
    for way in ("run alone", "run together", "replayed alone", "replayed together"):
        codes = f"| 0.6B float32 greedy codes, {way} / the package "
        row = next(line for line in lines if line.startswith(codes))
        assert row.split("|")[2].strip() == "equal"
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert report["figures"] == json.loads(lines[-1])
    steps = {name.removeprefix("0.6B ") for name in report["steps"]}
    wanted = {"one row", "codec", "rows", "long row", "profile", "first sound", "state errors"}
    prompts = report["steps"]["0.6B prompts"]
    assert prompts["3 together"]["waits"] == 1
    assert prompts["3 together"]["kernels"] < prompts["3 one by one"]["kernels"]
    assert wanted <= steps
    assert "met" in next(line for line in lines if "0.6B codec, percent" in line)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_says_what_can_be_done_instead(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="there is no GPU; `--rehearse`"):
        main(["--out", str(tmp_path)])


def test_a_step_that_fails_is_told_and_the_next_one_is_done(tmp_path: Path) -> None:
    report = Report(tmp_path / "gpu.json", seconds=60)

    def fail() -> dict[str, object]:
        raise ValueError("no such size")

    assert not report.step("first", fail)
    assert report.step("second", lambda: {"rows": 3})
    assert report.failed() == ["first"]
    kept = json.loads((tmp_path / "gpu.json").read_text())["steps"]
    assert kept["first"]["error"] == "ValueError: no such size"
    assert kept["second"]["rows"] == 3


def test_no_step_begins_without_the_time_for_it(tmp_path: Path) -> None:
    report = Report(tmp_path / "gpu.json", seconds=10)
    assert not report.step("long", lambda: {"done": True}, needs=20)
    assert report.step("short", lambda: {"done": True}, needs=5)
    assert report.failed() == ["long"]


def test_only_what_is_asked_for_is_done_and_what_that_needs(tmp_path: Path) -> None:
    report = Report(tmp_path / "gpu.json", seconds=60, only=["codec"], skipped=["0.6B codec"])
    assert report.step("0.6B build", dict, is_needed=True)
    assert not report.step("0.6B codec", dict)
    assert report.step("1.7B codec", dict)
    assert not report.step("1.7B rows", dict)


@pytest.mark.parametrize(
    ("value", "is_least", "verdict"),
    [(2.5, True, "met"), (2.4, True, "not met"), (2.5, False, "met"), (2.6, False, "not met")],
)
def test_figures_are_judged(value: float, *, is_least: bool, verdict: str) -> None:
    target = Target("rows", 2.5, "a reason", is_least=is_least)
    assert target.judge({"rows": value}).startswith(f"{verdict} ")
    assert target.judge({}).startswith("not measured ")


def test_both_models_have_targets() -> None:
    figures = {target.figure for target in TARGETS}
    assert {"0.6B times faster-qwen3-tts", "1.7B times faster-qwen3-tts"} <= figures
    assert len(figures) == len(TARGETS)
