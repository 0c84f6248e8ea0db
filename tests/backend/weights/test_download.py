"""A download leaves whole weights at the right commit, or an error; never half a model."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from backend.contract import BackendUnavailableError
from backend.reference.transcriber import CPU_MODEL, GPU_MODEL, repository_of
from backend.settings import DEFAULT_TRANSCRIBER
from backend.weights import store
from backend.weights.checkpoints import Checkpoint
from backend.weights.download import download
from backend.weights.store import find_weights, folder_of, pinned_commit
from tests.backend.weights.fake_hub import REPOSITORY, FakeHub, files_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODEL = "model.safetensors"
CODEC = "speech_tokenizer/model.safetensors"
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def hub(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with a checkpoint, which Timbre is pinned to."""
    # The hub's client writes pieces of this size; what came of the next one is lost when cut.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
    monkeypatch.setattr("backend.weights.download.PAUSES", (0.0, 0.0))
    with FakeHub(files_in(checkpoint)) as hub:
        reach(monkeypatch, hub.endpoint)
        pin(monkeypatch, hub.commit)
        yield hub


def reach(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Let the hub's client ask this address; it has read its settings already."""
    monkeypatch.setattr("backend.weights.hub.ENDPOINT", endpoint)


def pin(monkeypatch: pytest.MonkeyPatch, commit: str, repo_id: str = REPOSITORY) -> None:
    published = Checkpoint(repo_id, "A tiny model", ("T4",), commit)
    monkeypatch.setattr(store, "PUBLISHED", (published,))


def content(folder: Path) -> dict[str, bytes]:
    """What a model could be loaded from."""
    return {name: data for name, data in files_in(folder).items() if not name.startswith(".")}


def test_a_download_is_whole_at_the_pinned_commit_and_has_no_pickles(
    hub: FakeHub, tmp_path: Path
) -> None:
    needed = dict(hub.files)
    hub.files |= {"pytorch_model.bin": b"pickle" * 400, "README.md": b"# Hi"}
    assert find_weights(REPOSITORY, tmp_path).defects
    weights = download(REPOSITORY, tmp_path)
    assert weights == find_weights(REPOSITORY, tmp_path)
    assert (weights.commit, weights.defects) == (hub.commit, {})
    assert content(weights.folder) == needed


def test_whole_weights_ask_nobody(
    hub: FakeHub, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = download(REPOSITORY, tmp_path)
    reach(monkeypatch, NOWHERE)
    assert download(REPOSITORY, tmp_path) == first
    by_hand = shutil.copytree(checkpoint, tmp_path / "volume" / REPOSITORY)
    assert download(REPOSITORY, tmp_path / "volume").folder == by_hand
    assert len(hub.downloads) == len(hub.files)


def interrupt(hub: FakeHub, tmp_path: Path) -> None:
    """Let a download break off, and the hub be away until further notice."""
    hub.cut[MODEL], hub.goes_away = 30_000, True
    with pytest.raises(BackendUnavailableError, match="couldn't be downloaded"):
        download(REPOSITORY, tmp_path)
    hub.status = None
    hub.downloads.clear()


def test_a_download_goes_on_where_the_connection_broke_off(hub: FakeHub, tmp_path: Path) -> None:
    hub.cut[MODEL] = 30_000
    assert content(download(REPOSITORY, tmp_path).folder) == hub.files
    assert [first for path, first in hub.downloads if path == MODEL] == [0, 30_000]


def test_an_interrupted_download_is_no_model_and_is_resumed(hub: FakeHub, tmp_path: Path) -> None:
    interrupt(hub, tmp_path)
    assert find_weights(REPOSITORY, tmp_path).defects[MODEL] == "is missing"

    weights = download(REPOSITORY, tmp_path)
    assert content(weights.folder) == hub.files
    assert [first for path, first in hub.downloads if path == MODEL] == [30_000]


@pytest.mark.parametrize("damage", ["overwritten", "too long"])
def test_what_came_of_a_file_is_not_trusted_after_a_power_failure(
    hub: FakeHub, tmp_path: Path, damage: str
) -> None:
    interrupt(hub, tmp_path)
    folder = folder_of(REPOSITORY, tmp_path)
    etag = sha256(hub.files[MODEL]).hexdigest()
    (unfinished,) = folder.rglob(f"*.{etag}.incomplete")
    if damage == "overwritten":
        unfinished.write_bytes(unfinished.read_bytes()[:20_000] + bytes(10_000))
        with pytest.raises(BackendUnavailableError, match=rf"{MODEL} is missing"):
            download(REPOSITORY, tmp_path)
    else:
        unfinished.write_bytes(bytes(len(hub.files[MODEL]) + 1))
    assert content(download(REPOSITORY, tmp_path).folder) == hub.files


def test_a_hub_that_goes_away_does_not_make_a_half_filled_folder_whole(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(hub, tmp_path)
    reach(monkeypatch, NOWHERE)
    with pytest.raises(BackendUnavailableError, match=r"can't be reached\. Check the network"):
        download(REPOSITORY, tmp_path)
    assert find_weights(REPOSITORY, tmp_path).defects


@pytest.mark.parametrize("name", ["config.json", MODEL, CODEC])
@pytest.mark.parametrize("damage", ["cut off", "missing", "grown"])
def test_a_damaged_file_is_downloaded_again(
    hub: FakeHub, tmp_path: Path, name: str, damage: str
) -> None:
    folder = download(REPOSITORY, tmp_path).folder
    before = (folder / name).stat()
    if damage == "missing":
        (folder / name).unlink()
    else:
        with (folder / name).open("r+b") as file:
            file.truncate(before.st_size + 1 if damage == "grown" else before.st_size // 2)
        # The hub's client would take it for the file that it downloaded.
        os.utime(folder / name, ns=(before.st_atime_ns, before.st_mtime_ns))

    hub.downloads.clear()
    assert not download(REPOSITORY, tmp_path).defects
    assert content(folder) == hub.files
    assert hub.downloads == [(name, 0)]


def test_a_cut_off_file_in_the_hub_s_cache_is_not_copied(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    snapshot = tmp_path / "hub" / f"models--{REPOSITORY.replace('/', '--')}/snapshots/{hub.commit}"
    for name, data in hub.files.items():
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).write_bytes(data)
    os.truncate(snapshot / MODEL, 100_000)
    assert find_weights(REPOSITORY, tmp_path).folder == snapshot
    weights = download(REPOSITORY, tmp_path)
    assert weights == find_weights(REPOSITORY, tmp_path)
    assert content(weights.folder) == hub.files


def test_what_else_lies_in_the_folder_is_left_alone(hub: FakeHub, tmp_path: Path) -> None:
    notes = folder_of(REPOSITORY, tmp_path) / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    assert not download(REPOSITORY, tmp_path).defects
    assert hub.downloads
    assert notes.read_text() == "mine"


def test_a_transcriber_is_downloaded_at_the_commit_that_it_is_pinned_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = ("config.json", "tokenizer.json", "vocabulary.json", "model.bin")
    with FakeHub(dict.fromkeys(names, b"{}")) as hub:
        reach(monkeypatch, hub.endpoint)
        monkeypatch.setattr(store, "PUBLISHED", ())
        monkeypatch.setattr(store, "TRANSCRIBERS", {REPOSITORY: hub.commit})
        assert download(REPOSITORY, tmp_path).commit == hub.commit
        hub.commit = "f" * 40  # the repository has moved on
        with pytest.raises(BackendUnavailableError):
            download(REPOSITORY, tmp_path / "elsewhere")


@pytest.mark.parametrize("name", [DEFAULT_TRANSCRIBER, *map(repository_of, (GPU_MODEL, CPU_MODEL))])
def test_the_default_transcribers_are_pinned(name: str) -> None:
    assert pinned_commit(name) is not None


def test_another_pinned_commit_replaces_the_first(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = download(REPOSITORY, tmp_path)
    hub.downloads.clear()
    hub.commit, hub.files[MODEL] = "b" * 40, hub.files[CODEC]
    pin(monkeypatch, hub.commit)
    hub.cut[MODEL], hub.goes_away = 20_000, True
    with pytest.raises(BackendUnavailableError):
        download(REPOSITORY, tmp_path)
    hub.status = None
    assert find_weights(REPOSITORY, tmp_path).defects
    second = download(REPOSITORY, tmp_path)
    assert second == replace(first, commit=hub.commit)
    assert content(second.folder) == hub.files
    assert [first for name, first in hub.downloads if name == MODEL] == [0, 20_000]
    assert (CODEC, 0) not in hub.downloads, "it is the same at both"


def test_another_commit_cannot_be_had_without_the_hub_and_the_first_is_kept(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = download(REPOSITORY, tmp_path)
    assert first.commit == hub.commit
    pin(monkeypatch, "b" * 40)
    reach(monkeypatch, NOWHERE)
    with pytest.raises(BackendUnavailableError, match="Check the network"):
        download(REPOSITORY, tmp_path)
    assert find_weights(REPOSITORY, tmp_path) == first


def test_a_transcriber_is_downloaded_at_its_latest_commit(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PUBLISHED", ())
    needed = {
        "config.json": b"{}",
        "model.bin": b"whisper" * 400,
        "tokenizer.json": b"{}",
        "vocabulary.txt": b"a",
    }
    hub.files = {**needed, "README.md": b"# Hi"}
    first = download(REPOSITORY, tmp_path)
    assert first.commit == hub.commit
    assert content(first.folder) == needed
    hub.commit = "b" * 40
    assert download(REPOSITORY, tmp_path) == first, "they are whole"


def test_of_several_downloads_at_once_one_asks_the_hub(hub: FakeHub, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        downloads = [pool.submit(download, REPOSITORY, tmp_path) for _ in range(4)]
    assert all(not each.result().defects for each in downloads)
    assert sorted(hub.downloads) == sorted((name, 0) for name in hub.files)


@pytest.mark.parametrize(
    ("repo_id", "commit"),
    [("someone/no-such-model", "main"), (REPOSITORY, "no-such-branch"), ("not a name", "main")],
)
def test_what_the_hub_does_not_have_is_one_clear_error(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repo_id: str, commit: str
) -> None:
    pin(monkeypatch, commit, repo_id)
    with pytest.raises(BackendUnavailableError, match=f"{repo_id} couldn't be downloaded"):
        download(repo_id, tmp_path)
    assert not hub.downloads


def test_a_repository_without_weights_is_an_error(hub: FakeHub, tmp_path: Path) -> None:
    hub.files = {"README.md": b"# Hi", "config.json": b"{}"}
    with pytest.raises(BackendUnavailableError, match=r"generation_config\.json is missing"):
        download(REPOSITORY, tmp_path)


@pytest.mark.parametrize("folder", ["file/weights", "too long" * 40])
def test_a_folder_that_cannot_be_used_is_the_same_error(
    hub: FakeHub, tmp_path: Path, folder: str
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendUnavailableError, match="Name another folder with WEIGHTS_FOLDER"):
        download(REPOSITORY, tmp_path / folder)
    assert not hub.downloads
