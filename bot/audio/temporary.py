"""Temporary folders of the bot's own, of which nothing stays: not after a failure, nor a kill."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = "timbre-encoding-"


@contextmanager
def private_folder() -> Iterator[Path]:
    """Make a folder that only this user can read, and delete it with all that is in it.

    While it is in use it is locked. The kernel releases the lock when the process ends, however
    that happens.
    """
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    lock = _lock(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def delete_leftovers() -> int:
    """Delete the folders of processes that were killed; return how many there were.

    Folders that another process uses are left alone. Reads the disk; call it when the bot starts.
    """
    deleted = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            lock = _lock(folder)
            if lock is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)
                deleted += 1
    return deleted


def _lock(folder: Path) -> int | None:
    """Lock a folder, and return the descriptor that holds the lock; None if another has it.

    Where the system lacks such locks, nothing is locked, and nothing is deleted at start.
    """
    try:
        import fcntl  # noqa: PLC0415 - Windows has none
    except ImportError:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
