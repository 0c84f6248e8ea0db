"""`python -m bot demo --once`: the main job, with the real bot and the preview voice."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from tests.support.recordings import as_file, speech

ROOT = Path(__file__).parents[2]
MARKUP = re.compile(r"\*\*|`|^-# |</|<t:|\\", re.MULTILINE)


def once(
    folder: Path, recording: bytes, text: str, *more: str, out: str = "out.ogg"
) -> subprocess.CompletedProcess[str]:
    (folder / "me.m4a").write_bytes(recording)
    command = [sys.executable, "-m", "bot", "demo", "--once", "me.m4a", text, "--out", out, *more]
    return subprocess.run(  # noqa: S603 - our own command line
        command,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_posts_speech_and_says_what_the_member_was_told(tmp_path: Path) -> None:
    recording = as_file(speech(6.0), 24_000, "m4a")
    done = once(tmp_path, recording, "Hello there. It works!", "--language", "English")
    assert done.returncode == 0, done.stderr
    assert "“I have the speaker's permission to clone this voice." in done.stdout
    assert "New voice (synthetic voice, asked by you):\nThis is a preview" in done.stdout
    assert "\n> Hello there. It works!\n" in done.stdout
    assert not MARKUP.search(done.stdout)
    heard = soundfile.info(io.BytesIO((tmp_path / "out.ogg").read_bytes()))
    assert (heard.format, heard.channels) == ("OGG", 1)
    assert 1.0 < heard.duration < 6.0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["me.m4a", "out.ogg"]


@pytest.mark.slow
def test_fails_without_speech(tmp_path: Path) -> None:
    done = once(tmp_path, as_file(speech(1.0), 24_000, "m4a"), "Hello there.")
    assert done.returncode == 1
    assert "I need at least 3 seconds." in done.stdout
    assert not (tmp_path / "out.ogg").exists()
