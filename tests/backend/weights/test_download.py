"""A folder of weights is whole or it is not, and a half-filled one is never taken for a model."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.contract import BackendUnavailableError
from backend.weights import download
from backend.weights.checkpoints import SMALL_MODEL_ID
from backend.weights.download import download_with_bar, download_with_lines, fill
from backend.weights.store import (
    TRANSCRIBER_FILES,
    Manifest,
    Weights,
    WeightsFile,
    is_whole,
    stored,
)
from tests.backend.weights.fake_hub import REPOSITORY, FakeHub

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODEL = "model.safetensors"
CODEC = "speech_tokenizer/model.safetensors"
NEEDED = {
    "config.json": b'{"model_type": "qwen3_tts"}',
    "merges.txt": b"a b\n",
    MODEL: bytes(range(256)) * 400,
    CODEC: bytes(reversed(range(256))) * 100,
}
WEIGHTS = Weights(REPOSITORY, "main")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    # The hub's client writes pieces of this size; what came of the next one is lost when cut.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
    with FakeHub({**NEEDED, "pytorch_model.bin": b"pickle" * 400, "README.md": b"# Hi"}) as hub:
        yield hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "weights"


def content(folder: Path) -> dict[str, bytes]:
    """What a model could be loaded from."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    visible = (path for path in paths if not path.parts[0].startswith((".", "timbre-")))
    return {path.as_posix(): (folder / path).read_bytes() for path in visible}


def test_a_filled_folder_holds_what_is_needed_and_no_pickles(hub: FakeHub, folder: Path) -> None:
    assert not is_whole(folder, WEIGHTS)
    fill(folder, WEIGHTS, endpoint=hub.endpoint)
    assert is_whole(folder, WEIGHTS)
    assert content(folder) == NEEDED


def test_a_transcriber_is_read_from_other_files(hub: FakeHub, folder: Path) -> None:
    hub.files = {"config.json": b"{}", "model.bin": b"whisper" * 400, "vocabulary.txt": b"a"}
    whisper = Weights(REPOSITORY, "main", TRANSCRIBER_FILES)
    fill(folder, whisper, endpoint=hub.endpoint)
    assert content(folder) == hub.files


def test_a_whole_folder_asks_nobody(hub: FakeHub, folder: Path) -> None:
    fill(folder, WEIGHTS, endpoint=hub.endpoint)
    fill(folder, WEIGHTS, endpoint="http://127.0.0.1:9")


def test_the_commit_that_main_was_is_known_without_the_hub(hub: FakeHub, folder: Path) -> None:
    fill(folder, WEIGHTS, endpoint=hub.endpoint)
    assert is_whole(folder, Weights(REPOSITORY, hub.commit))
    manifest = Manifest.read_if_whole(folder, WEIGHTS)
    assert manifest is not None
    assert manifest.commit == hub.commit


def test_an_interrupted_download_is_no_model_and_is_resumed(hub: FakeHub, folder: Path) -> None:
    hub.cut[MODEL] = 30_000
    with pytest.raises(BackendUnavailableError):
        fill(folder, WEIGHTS, endpoint=hub.endpoint)
    assert not is_whole(folder, WEIGHTS)

    hub.downloads.clear()
    fill(folder, WEIGHTS, endpoint=hub.endpoint)
    assert is_whole(folder, WEIGHTS)
    assert content(folder) == NEEDED
    assert [first for path, first in hub.downloads if path == MODEL] == [30_000]


def test_a_hub_that_goes_away_does_not_make_a_half_filled_folder_whole(
    hub: FakeHub, folder: Path
) -> None:
    hub.cut[MODEL] = 1
    with pytest.raises(BackendUnavailableError):
        fill(folder, WEIGHTS, endpoint=hub.endpoint)
    with pytest.raises(BackendUnavailableError):
        fill(folder, WEIGHTS, endpoint="http://127.0.0.1:9")
    assert not is_whole(folder, WEIGHTS)


def test_all_files_without_a_manifest_are_not_whole(folder: Path) -> None:
    for path, data in NEEDED.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    assert not is_whole(folder, WEIGHTS)


@pytest.mark.parametrize("path", NEEDED)
@pytest.mark.parametrize("damage", ["truncated", "missing", "grown"])
def test_a_damaged_folder_is_noticed_and_mended(
    hub: FakeHub, folder: Path, path: str, damage: str
) -> None:
    fill(folder, WEIGHTS, endpoint=hub.endpoint)
    if damage == "missing":
        (folder / path).unlink()
    else:
        size = 1 if damage == "truncated" else len(NEEDED[path]) + 1
        os.truncate(folder / path, size)
    assert not is_whole(folder, WEIGHTS)

    hub.downloads.clear()
    fill(folder, WEIGHTS, endpoint=hub.endpoint)
    assert content(folder) == NEEDED
    assert hub.downloads == [(path, 0)]


def test_what_else_lies_in_the_folder_is_left_alone(hub: FakeHub, folder: Path) -> None:
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    fill(folder, WEIGHTS, endpoint=hub.endpoint)
    (folder / "more.json").write_text("{}")
    assert is_whole(folder, WEIGHTS)
    assert (folder / "notes.txt").read_text() == "mine"


def test_damage_on_the_way_is_noticed(hub: FakeHub, folder: Path) -> None:
    hub.damaged.add(MODEL)
    with pytest.raises(BackendUnavailableError, match="damaged on its way"):
        fill(folder, WEIGHTS, endpoint=hub.endpoint)
    assert not is_whole(folder, WEIGHTS)

    hub.damaged.clear()
    fill(folder, WEIGHTS, endpoint=hub.endpoint)
    assert content(folder) == NEEDED


@pytest.mark.parametrize("name", NEEDED)
def test_without_a_manifest_files_of_the_right_size_are_checked(
    hub: FakeHub, folder: Path, name: str
) -> None:
    fill(folder, WEIGHTS, endpoint=hub.endpoint)
    Manifest.remove(folder)
    (folder / name).write_bytes(bytes(len(NEEDED[name])))
    with pytest.raises(BackendUnavailableError, match="damaged"):
        fill(folder, WEIGHTS, endpoint=hub.endpoint)
    assert not is_whole(folder, WEIGHTS)
    fill(folder, WEIGHTS, endpoint=hub.endpoint)
    assert content(folder) == NEEDED


def test_another_revision_replaces_the_first(hub: FakeHub, folder: Path) -> None:
    first = Weights(REPOSITORY, hub.commit)
    fill(folder, first, endpoint=hub.endpoint)
    hub.commit = "b" * 40
    hub.files = {"config.json": b"{}", MODEL: b"new" * 400}
    second = Weights(REPOSITORY, hub.commit)
    assert not is_whole(folder, second)

    fill(folder, second, endpoint=hub.endpoint)
    assert content(folder) == hub.files
    assert not is_whole(folder, first)


def test_another_model_in_the_folder_is_not_taken_for_the_wanted_one(
    hub: FakeHub, folder: Path
) -> None:
    fill(folder, WEIGHTS, endpoint=hub.endpoint)
    assert not is_whole(folder, Weights("someone/other-model", "main"))


def test_of_several_fillers_one_downloads(hub: FakeHub, folder: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        fillers = [pool.submit(fill, folder, WEIGHTS, endpoint=hub.endpoint) for _ in range(4)]
    for filler in fillers:
        filler.result()
    assert content(folder) == NEEDED
    assert sorted(hub.downloads) == sorted((path, 0) for path in NEEDED)


def test_progress_is_seen_to_the_last_byte(hub: FakeHub, folder: Path) -> None:
    seen: list[tuple[int, int]] = []

    def note(done: int, total: int) -> None:
        seen.append((done, total))

    hub.cut[MODEL] = 30_000
    with pytest.raises(BackendUnavailableError):
        fill(folder, WEIGHTS, endpoint=hub.endpoint, on_progress=note)
    total = sum(map(len, NEEDED.values()))
    assert 30_000 <= seen[-1][0] < total

    fill(folder, WEIGHTS, endpoint=hub.endpoint, on_progress=note)
    assert seen[-1] == (total, total)


def test_nothing_is_printed(hub: FakeHub, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fill(folder, WEIGHTS, endpoint=hub.endpoint)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "weights",
    [
        Weights("someone/no-such-model", "main"),
        Weights(REPOSITORY, "no-such-branch"),
        Weights("not a name", "main"),
        Weights(REPOSITORY, "main", ("*.nothing",)),
    ],
    ids=["unknown model", "unknown revision", "no name", "no files"],
)
def test_what_the_hub_does_not_have_is_one_clear_error(
    hub: FakeHub, folder: Path, weights: Weights
) -> None:
    with pytest.raises(BackendUnavailableError, match=weights.repo_id):
        fill(folder, weights, endpoint=hub.endpoint)
    assert not is_whole(folder, weights)


def test_a_folder_that_cannot_be_made_is_the_same_error(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendUnavailableError):
        fill(tmp_path / "file" / "weights", WEIGHTS, endpoint=hub.endpoint)


def test_a_download_shows_how_far_it_is_and_leaves_a_whole_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeHub({"config.json": b"{}", "model.bin": bytes(50_000)}) as hub:
        monkeypatch.setattr(download, "fill", partial(fill, endpoint=hub.endpoint))
        lines: list[str] = []
        assert not stored(REPOSITORY, tmp_path)
        download_with_lines(REPOSITORY, tmp_path, token=None, say=lines.append)
        assert stored(REPOSITORY, tmp_path)
        assert lines[-2:] == [
            f"{REPOSITORY}: 100 %, 0.00 of 0.00 GB",
            f"{REPOSITORY} is whole.",
        ]
        asked = len(hub.downloads)
        download_with_lines(REPOSITORY, tmp_path, token=None, say=lines.append)
        download_with_bar(REPOSITORY, tmp_path, "A small model")
        assert len(hub.downloads) == asked
    with pytest.raises(BackendUnavailableError, match="could not be downloaded"):
        download_with_lines("someone/else", tmp_path, token=None, say=lines.append)


def test_a_bar_leaves_a_whole_folder_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with FakeHub({"config.json": b"{}", "model.bin": bytes(50_000)}) as hub:
        monkeypatch.setattr(download, "fill", partial(fill, endpoint=hub.endpoint))
        download_with_bar(REPOSITORY, tmp_path, "A small model")
    assert stored(REPOSITORY, tmp_path)
    assert capfd.readouterr() == ("", ""), "there is no terminal to draw on"


def test_a_long_download_is_told_in_few_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_slowly(*_: object, on_progress: download.OnProgress, **__: object) -> None:
        for done in range(1_000):
            on_progress(done * 4_000_000, 4_000_000_000)

    monkeypatch.setattr(download, "fill", fill_slowly)
    lines: list[str] = []
    download_with_lines(SMALL_MODEL_ID, tmp_path, token=None, say=lines.append)
    assert 15 <= len(lines) <= 25
    assert f"{SMALL_MODEL_ID}: 50 %, 2.00 of 4.00 GB" in lines


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | JSON.map(json.dumps).map(str.encode))
def test_a_damaged_manifest_is_no_manifest(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "timbre-weights.json").write_bytes(data)
    assert not is_whole(tmp_path, WEIGHTS)


@pytest.mark.parametrize("change", ["no files", "a path outside", "another format", "no commit"])
def test_a_manifest_that_makes_no_sense_is_none(tmp_path: Path, change: str) -> None:
    (tmp_path / "config.json").write_bytes(b"{}")
    Manifest(REPOSITORY, "main", "a" * 40, (WeightsFile("config.json", 2, None),)).write(tmp_path)
    assert is_whole(tmp_path, WEIGHTS)

    path = tmp_path / "timbre-weights.json"
    manifest = json.loads(path.read_text())
    if change == "no files":
        manifest["files"] = []
    elif change == "a path outside":
        manifest["files"][0]["path"] = f"../{tmp_path.name}/config.json"
    elif change == "another format":
        manifest["format"] += 1
    else:
        del manifest["commit"]
    path.write_text(json.dumps(manifest))
    assert not is_whole(tmp_path, WEIGHTS)
