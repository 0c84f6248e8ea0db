"""Downloads weights from the hub, unless they are on the disk."""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from filelock import FileLock, Timeout

from backend.contract import BackendUnavailableError
from backend.weights import hub
from backend.weights.checkpoints import label_of
from backend.weights.progress import shown_progress, size
from backend.weights.store import (
    CLIENT_NOTES,
    StoredWeights,
    find_weights,
    folder_of,
    inspect,
    is_transcriber,
    pinned_commit,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from backend.weights.hub import HubFile

PAUSES = (1.0, 5.0, 15.0)
"""How long to wait, in seconds, before the next attempts at a download that breaks off."""

_LONGEST_WAIT_SECONDS = 3_600  # for another process that downloads the same
_SHA256_DIGITS = 64  # the hub names large files by their SHA-256, and small ones by a SHA-1

_SPARE_BYTES = 200_000_000
"""So much of the disk is left free."""


def download(
    repo_id: str, weights_folder: Path, *, token: str | None = None, by_xet: bool = False
) -> StoredWeights:
    """Download a repository's weights, unless they are on the disk. Blocks for minutes.

    What is pinned to a commit is downloaded at that. A download that was
    interrupted is resumed. If several processes do this at once, one downloads and the others wait.
    How far it is appears on standard error.

    Args:
        repo_id: A published speech model, or a Whisper model converted for CTranslate2.
        weights_folder: As for `find_weights`.
        token: For the hub; public models need none.
        by_xet: As for `hub.fetch`.

    Raises `BackendUnavailableError`, with a sentence for the operator, if they cannot be had in
    full.
    """
    missing = Missing.of(repo_id, weights_folder, token=token, by_xet=by_xet)
    with told([missing], sys.stderr):
        return missing.fetch()


@dataclass(frozen=True, slots=True)
class Missing:
    """What is missing on the disk of a repository's weights.

    Attributes:
        repo_id: The repository.
        folder: Where it is downloaded to.
        files: Of what it consists; empty if `found` is whole.
        found: What there is on the disk.
        token: For the hub, or None.
        by_xet: As for `hub.fetch`.
    """

    repo_id: str
    folder: Path
    files: tuple[HubFile, ...]
    found: StoredWeights
    token: str | None = None
    by_xet: bool = False

    @classmethod
    def of(
        cls,
        repo_id: str,
        weights_folder: Path,
        *,
        token: str | None = None,
        by_xet: bool = False,
    ) -> Missing:
        """Look on the disk, and ask the hub if the weights are not whole there.

        Raises `BackendUnavailableError` if neither can say what is missing.
        """
        pinned, folder = pinned_commit(repo_id), folder_of(repo_id, weights_folder)
        files: Sequence[HubFile] = ()
        try:
            found = find_weights(repo_id, weights_folder)
            if not _is_wanted(found, pinned):
                files = hub.files_of(repo_id, pinned, token=token)
        except hub.FAILURES as error:
            raise _failure(repo_id, hub.explain(error, weights_folder)) from error
        return cls(repo_id, folder, tuple(files), found, token, by_xet)

    @property
    def total(self) -> int:
        """How many bytes the download has, together with what has come of it."""
        return sum(file.size for file in self.files)

    def done(self) -> int:
        """How many bytes of it are on the disk."""
        return sum(min(file.size, self._bytes_of(file)) for file in self.files)

    def fetch(self) -> StoredWeights:
        """Download what is missing.

        Raises `BackendUnavailableError` if the weights cannot be had in full.
        """
        if not self.files:
            return self.found
        weights_folder, pinned = self.folder.parent, pinned_commit(self.repo_id)
        try:
            weights_folder.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.folder}.lock", timeout=_LONGEST_WAIT_SECONDS):
                for name in inspect(
                    self.folder, is_transcriber=is_transcriber(self.repo_id)
                ).defects:
                    # The hub's client takes a file for whole that it once downloaded.
                    (self.folder / name).unlink(missing_ok=True)
                self._drop_overlong()
                begun = [file for file in self.files if 0 < self._bytes_of(file) < file.size]
                self._fetch_patiently(pinned)
                for file in begun:
                    self._drop_if_damaged(file)
        except Timeout as error:
            reason = "another process has been downloading it for an hour. End that, start again"
            raise _failure(self.repo_id, reason) from error
        except hub.FAILURES as error:
            reason = hub.explain(error, weights_folder, has_begun=self.done() > 0)
            raise _failure(self.repo_id, reason) from error
        # The client also returns if it cannot reach the hub and the folder holds anything at all.
        weights = self._inspected()
        if not _is_wanted(weights, pinned):
            reason = f"{weights}. Check the network, then start again; it goes on from there"
            raise _failure(self.repo_id, reason)
        return weights

    def _inspected(self) -> StoredWeights:
        return inspect(self.folder, is_transcriber=is_transcriber(self.repo_id))

    def _fetch_patiently(self, commit: str | None) -> None:
        """Go on after the connection broke off, until several attempts brought nothing more."""
        pauses = iter(PAUSES)
        while True:
            before = self.done()
            try:
                hub.fetch(self.repo_id, commit, self.folder, token=self.token, by_xet=self.by_xet)
                if self.done() < self.total:  # the client kept to itself that the hub is away
                    hub.files_of(self.repo_id, commit, token=self.token)
            except hub.FAILURES as error:
                if self.done() > before:
                    pauses = iter(PAUSES)
                pause = next(pauses, None)
                if pause is None or not hub.is_transient(error):
                    raise
                time.sleep(pause)
            else:
                return

    def _drop_if_damaged(self, file: HubFile) -> None:
        """Delete a file whose content isn't the hub's, such as after a power failure on the way.

        The hub's client compares nothing but the length.
        """
        path = self.folder / file.name
        if len(file.etag) == _SHA256_DIGITS and path.is_file():
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            if digest != file.etag:
                path.unlink()

    def _drop_overlong(self) -> None:
        """Delete what is longer than its file, from whose end the hub could never go on."""
        for file in self.files:
            for unfinished in self._unfinished(file):
                if unfinished.stat().st_size > file.size:
                    unfinished.unlink()

    def _unfinished(self, file: HubFile) -> list[Path]:
        """Where the hub's client keeps what has come of a file."""
        notes = (self.folder / CLIENT_NOTES / file.name).parent
        return list(notes.glob(f"*.{file.etag}.incomplete"))

    def _bytes_of(self, file: HubFile) -> int:
        """How much of a file has come. Of another commit's file of the same name, nothing has."""
        path, note = self.folder / file.name, self.folder / CLIENT_NOTES / f"{file.name}.metadata"
        try:
            if path.is_file() and (not note.is_file() or file.etag in note.read_text("utf-8")):
                return path.stat().st_size
            return max((each.stat().st_size for each in self._unfinished(file)), default=0)
        except (OSError, UnicodeDecodeError):  # it was moved in this moment
            return 0


@contextmanager
def told(downloads: Sequence[Missing], out: TextIO) -> Iterator[None]:
    """Say how large some downloads are and that they can be interrupted, then how far they are.

    Says nothing if everything is on the disk. Raises `BackendUnavailableError` before the block if
    they don't fit on the disk.
    """
    needed = [each for each in downloads if each.files]
    if not needed:
        yield
        return
    total, done = sum(each.total for each in needed), sum(each.done() for each in needed)
    folder = needed[0].folder.parent
    _check_room(total - done, folder)
    what = " and ".join(f"{label_of(each.repo_id)} ({size(each.total)})" for each in needed)
    goes_on = f"{size(done)} of it are there. " if done else ""
    print(
        f"Downloading {what}, once, into {folder}. {goes_on}"
        "Ctrl-C stops, and the next start goes on from there.",
        file=out,
        flush=True,
    )
    with shown_progress(lambda: sum(each.done() for each in needed), total, out):
        yield


def _check_room(needed: int, folder: Path) -> None:
    """Raise `BackendUnavailableError` if so many bytes don't fit on the disk of a folder."""
    there = next((each for each in (folder, *folder.absolute().parents) if each.is_dir()), None)
    if there is None:
        return
    free = shutil.disk_usage(there).free
    if free < needed + _SPARE_BYTES:
        raise BackendUnavailableError(
            f"The weights need {size(needed)} more, but only {size(free)} are free on the disk of "
            f"{folder}. Free some space, or name a folder on another disk with WEIGHTS_FOLDER, "
            "then start again."
        )


def _is_wanted(weights: StoredWeights, pinned: str | None) -> bool:
    return not weights.defects and (pinned is None or weights.commit in {None, pinned})


def _failure(repo_id: str, reason: str) -> BackendUnavailableError:
    return BackendUnavailableError(f"{repo_id} couldn't be downloaded: {reason}.")
