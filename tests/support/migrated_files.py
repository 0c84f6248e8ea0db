"""New SQLite files that are copies of a migrated one: to copy is faster than to migrate each."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from bot.storage import database
from bot.storage.engines import prepare_file
from bot.storage.location import location_of
from bot.storage.migrating import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import URL


@contextmanager
def new_files_are_copies(folder: Path) -> Iterator[None]:
    """In this process, let a SQLite database that is opened and is missing be a copy.

    Args:
        folder: Where the file is kept that is copied. It is made when the first copy is needed.
    """

    @cache
    def migrated_file() -> Path:
        file = folder / "migrated.db"
        migrate(location_of(f"sqlite:///{file}"))
        return file

    with patch.object(database, "migrate", partial(_copy_or_migrate, migrated_file)):
        yield


def _copy_or_migrate(migrated_file: Callable[[], Path], location: URL) -> None:
    file = Path(location.database or "")
    if location.get_backend_name() != "sqlite" or file.exists():
        migrate(location)
    else:
        prepare_file(file)
        shutil.copyfile(migrated_file(), file)
