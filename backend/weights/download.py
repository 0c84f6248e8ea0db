"""Fill the volume with all that a deployment needs from the hub, and say how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.weights.folders import folder_of, is_published, revision_of
from backend.weights.store import SPEECH_MODEL_FILES, TRANSCRIBER_FILES, Progress, Weights, fill

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    OnProgress = Callable[[Progress], None]

_PERCENT_BETWEEN_LINES = 5


def download(
    repo_id: str, volume: Path, *, token: str | None, say: Callable[[str], object]
) -> None:
    """Download one model, unless it is there already. Blocks for minutes.

    Args:
        repo_id: One of `stored_weights.from_hub`.
        volume: Where the folders of all models are.
        token: For the hub; public models need none.
        say: Shows a line to the person who waits.

    Raises `BackendUnavailableError` if it cannot be had in full.
    """
    files = SPEECH_MODEL_FILES if is_published(repo_id) else TRANSCRIBER_FILES
    fill(
        folder_of(repo_id, volume),
        Weights(repo_id, revision_of(repo_id), files),
        token=token,
        on_progress=_ProgressLines(repo_id, say),
    )
    say(f"{repo_id} is whole.")


class _ProgressLines:
    """Says how far a download is, every few percent.

    Args:
        name: Of what is downloaded.
        say: Shows a line.
    """

    def __init__(self, name: str, say: Callable[[str], object]) -> None:
        self._name = name
        self._say = say
        self._next_percent = 0

    def __call__(self, progress: Progress) -> None:
        percent = 100 * progress.done // max(1, progress.total)
        if percent < self._next_percent:
            return
        self._next_percent = percent - percent % _PERCENT_BETWEEN_LINES + _PERCENT_BETWEEN_LINES
        done, total = progress.done / 1e9, progress.total / 1e9
        self._say(f"{self._name}: {percent} %, {done:.2f} of {total:.2f} GB")
