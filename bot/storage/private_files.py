"""Who may read the files of a SQLite database: the user that the bot runs as, and nobody else."""

from __future__ import annotations

import stat
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from pathlib import Path

_ONLY_USER_FILE = 0o600
_ONLY_USER_FOLDER = 0o700
_OTHERS = 0o077

_OWN = (".db", ".db-wal", ".db-shm", ".db-journal")
_WEIGHTS = "weights"

log = structlog.get_logger(__name__)


def create_private(file: Path) -> None:
    """Create a database's file and folder if they are missing; only this user can read them."""
    file.parent.mkdir(mode=_ONLY_USER_FOLDER, parents=True, exist_ok=True)
    if not file.exists():
        file.touch(mode=_ONLY_USER_FILE)


def make_private(file: Path) -> None:
    """Let only this user read the files of a database that may be older than this rule.

    SQLite gives the file's mode to the log that it makes beside it. A folder is changed only if
    nothing but databases and weights is in it; of another one, the log warns.
    """
    for part in (file, *(file.with_name(f"{file.name}-{end}") for end in ("wal", "shm"))):
        with suppress(OSError):  # another user's, or not there
            part.chmod(_ONLY_USER_FILE)
    folder = file.parent
    if not stat.S_IMODE(folder.stat().st_mode) & _OTHERS:
        return
    if all(each.name.endswith(_OWN) or each.name == _WEIGHTS for each in folder.iterdir()):
        with suppress(OSError):
            folder.chmod(_ONLY_USER_FOLDER)
            return
    log.warning("others on this machine can list the database's folder", folder=str(folder))
