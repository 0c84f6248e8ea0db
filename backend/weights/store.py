"""Finds the weights on the disk, and tells whether a model can be loaded from them.

Any tool may have put them there. They are whole if every file that loading reads is there in full.

The hub's client reads its settings when it is imported, and whether the hub is needed has to be
known before. So this module does not import it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.weights.checkpoints import PUBLISHED, TRANSCRIBERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_CODEC = "speech_tokenizer/"
CLIENT_NOTES = ".cache/huggingface/download"
"""Where the hub's client notes the commit of each file that it downloads into a folder."""


@dataclass(frozen=True, slots=True)
class StoredWeights:
    """A folder of weights.

    Attributes:
        folder: Where they are, or where a download would put them.
        commit: The commit of their repository on the hub. None if it is not known, because another
            tool than the hub's client put them there.
        defects: What is wrong with which file, by its path with slashes: "is missing", "is empty",
            "is cut off or damaged". Empty if the weights are whole.
    """

    folder: Path
    commit: str | None
    defects: dict[str, str]

    def __str__(self) -> str:
        """Name the folder, and the first defect by its file's name, for the log."""
        for name, defect in self.defects.items():
            return f"{self.folder}: {name} {defect}"
        return f"{self.folder}: whole, of commit {self.commit or 'unknown'}"


def pinned_commit(repo_id: str) -> str | None:
    """The commit that a repository is pinned to; None for one that isn't pinned."""
    speech_models = {each.model_id: each.revision for each in PUBLISHED}
    return speech_models.get(repo_id, TRANSCRIBERS.get(repo_id))


def is_transcriber(repo_id: str) -> bool:
    """Whether a repository is taken for a transcriber's: it is no published speech model's."""
    return all(each.model_id != repo_id for each in PUBLISHED)


def folder_of(repo_id: str, weights_folder: Path) -> Path:
    """The folder into which a repository's weights are downloaded."""
    return weights_folder / repo_id.replace("/", "--")


def find_weights(repo_id: str, weights_folder: Path) -> StoredWeights:
    """Find a repository's weights: whole ones at the pinned commit, else other whole ones.

    Args:
        repo_id: A published speech model, or a Whisper model converted for CTranslate2.
        weights_folder: Holds folders of weights, such as "Qwen--Model", where downloads go,
            "Qwen/Model" or "Model". It may also be the hub's cache, or hold that in "hub".
    """
    pinned, ours = pinned_commit(repo_id), folder_of(repo_id, weights_folder)
    nested = weights_folder / repo_id
    named = [ours, nested, weights_folder / nested.name]
    cached = f"models--{ours.name}/snapshots/*"
    snapshots = [*weights_folder.glob(f"hub/{cached}"), *weights_folder.glob(cached)]
    folders = [folder for folder in (*named, *snapshots) if folder.is_dir()] or [ours]
    found = [inspect(folder, is_transcriber=is_transcriber(repo_id)) for folder in folders]
    return min(found, key=lambda each: (bool(each.defects), each.commit != pinned))


def inspect(folder: Path, *, is_transcriber: bool = False) -> StoredWeights:
    """Tell whether a folder holds whole weights, and of which commit they are."""
    names = list((_transcriber_files if is_transcriber else _speech_model_files)(folder))
    defects = {name: defect for name in names if (defect := _defect(folder / name))}
    notes = [folder / CLIENT_NOTES / f"{name}.metadata" for name in names]
    commits = {
        note.read_text("utf-8", "replace").partition("\n")[0] for note in notes if note.is_file()
    }
    if folder.parent.name == "snapshots":  # of the hub's cache
        commits = {folder.name}
    if len(commits) > 1:  # a download of another commit was interrupted
        defects.setdefault(names[0], "and other files are of different commits")
    return StoredWeights(folder, min(commits, default=None), defects)


def _speech_model_files(folder: Path) -> Iterator[str]:
    """List what qwen-tts reads of a checkpoint."""
    yield from ("config.json", "generation_config.json", "tokenizer_config.json")
    is_one_file = (folder / "tokenizer.json").exists()
    yield from ["tokenizer.json"] if is_one_file else ["vocab.json", "merges.txt"]
    yield from tensor_files(folder)
    yield from (f"{_CODEC}config.json", f"{_CODEC}preprocessor_config.json")
    yield from tensor_files(folder, _CODEC)


def _transcriber_files(folder: Path) -> Iterator[str]:
    """List what faster-whisper reads of a Whisper model converted for CTranslate2."""
    is_text = (folder / "vocabulary.txt").exists()
    vocabulary = "vocabulary.txt" if is_text else "vocabulary.json"
    yield from ("config.json", "tokenizer.json", vocabulary, "model.bin")


def tensor_files(folder: Path, part: str = "") -> Iterable[str]:
    """List the files with the tensors of one part, as transformers chooses them, and their index.

    Args:
        folder: A checkpoint.
        part: The part's folder in it, with a slash at the end.
    """
    single, index = f"{part}model.safetensors", f"{part}model.safetensors.index.json"
    if (folder / single).exists() or not (folder / index).exists():
        return [single]
    try:
        shards = set(json.loads((folder / index).read_bytes())["weight_map"].values())
    except (ValueError, LookupError, TypeError, AttributeError):
        return [index, single]
    return [index, *(sorted(f"{part}{shard}" for shard in shards) or [single])]


def _defect(path: Path) -> str | None:
    """Tell what is wrong with a file, as far as its own content shows; None if nothing is."""
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - not where `modal` runs

    try:
        if path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.suffix == ".safetensors":
            with safe_open(path, framework="np"):  # compares the file's length with its header
                pass
        return None if path.stat().st_size else "is empty"
    except FileNotFoundError:
        return "is missing"
    except (OSError, ValueError, SafetensorError):
        return "is cut off or damaged"
