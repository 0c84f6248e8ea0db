"""The smoke test clones the published sample by default, and nobody else without consent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from backend.smoke_test import SAMPLE, RecordingError, find_recording

if TYPE_CHECKING:
    from pathlib import Path


def test_the_sample_comes_with_its_transcript() -> None:
    sample = find_recording(SAMPLE, "", "")
    assert sample.audio == SAMPLE
    assert sample.transcript is not None
    assert sample.transcript.endswith("And thanks to you.")
    assert sample.consent


def test_a_recording_is_read_or_left_to_be_fetched(tmp_path: Path) -> None:
    path = tmp_path / "me.wav"
    path.write_bytes(b"RIFF")
    assert find_recording(str(path), "", "mine").audio == b"RIFF"
    assert find_recording(str(path), "", "mine").transcript is None
    address = find_recording("https://clips.example/a.wav", "Hello.", "mine")
    assert (address.audio, address.transcript) == ("https://clips.example/a.wav", "Hello.")


@pytest.mark.parametrize("consent", ["", "  "])
def test_nobody_else_is_cloned_without_consent(tmp_path: Path, consent: str) -> None:
    path = tmp_path / "me.wav"
    path.write_bytes(b"RIFF")
    for reference in (str(path), "https://clips.example/a.wav"):
        with pytest.raises(RecordingError, match="--consent"):
            find_recording(reference, "", consent)


def test_a_missing_recording_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="No such file or directory"):
        find_recording(str(tmp_path / "none.wav"), "", "mine")
