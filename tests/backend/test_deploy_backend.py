"""What is sent to Modal: pinned packages, and a file that can be looked at without an account."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
SOURCE = (ROOT / "deploy_backend.py").read_text("utf-8")
PIN = re.compile(r"^([\w.-]+)==([\w.]+)", re.MULTILINE)


def pins(text: str) -> dict[str, str]:
    return {canonicalize_name(name): version for name, version in PIN.findall(text)}


CONSTRAINTS = pins((ROOT / "constraints.txt").read_text("utf-8"))
IN_IMAGE = pins("\n".join(re.findall(r'^ +"([\w.-]+==[\w.]+)",$', SOURCE, re.MULTILINE)))


def test_the_image_has_the_versions_that_the_tests_ran_with() -> None:
    assert {"torch", "qwen-tts", "faster-whisper", "resemble-perth"} <= IN_IMAGE.keys()
    assert IN_IMAGE.items() <= CONSTRAINTS.items()


def test_whatever_those_need_is_pinned_too() -> None:
    image = {name: str(value) for name, value in default_environment().items()} | {
        "python_version": "3.12",
        "python_full_version": "3.12.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
    }
    needed: set[str] = set()
    waiting = [Requirement(name) for name in IN_IMAGE]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in needed:
            continue
        needed.add(name)
        try:
            requires = distribution(name).requires or []
        except PackageNotFoundError:
            continue  # not for this platform; the constraints are what counts
        for text in requires:
            wanted = Requirement(text)
            extras = (*requirement.extras, "")
            if wanted.marker is None or any(
                wanted.marker.evaluate({**image, "extra": extra}) for extra in extras
            ):
                waiting.append(wanted)
    assert needed <= CONSTRAINTS.keys()


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"MODAL_CONFIG_PATH": "/nowhere", "PATH": "", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_it_is_read_without_an_account_a_network_or_torch() -> None:
    looked_at = run(
        "import sys, deploy_backend as d; print(d.app.name, 'torch' in sys.modules)",
        MODAL_SERVER_URL="http://127.0.0.1:9",
    )
    assert looked_at.stdout == "qwen3-tts-voice-clone False\n", looked_at.stderr


@pytest.mark.parametrize(
    ("name", "value"), [("MODEL_ID", "my-model"), ("MAX_CONTAINERS", "many"), ("GPU", ",")]
)
def test_a_setting_that_cannot_be_used_is_told_in_a_sentence(name: str, value: str) -> None:
    refused = run("import deploy_backend", **{name: value})
    assert refused.returncode == 1
    assert re.fullmatch(rf"{name} .*\.\n", refused.stderr)
