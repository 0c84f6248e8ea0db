"""Everything that is kept about a person, as zip archives for that person."""

from __future__ import annotations

import asyncio
import io
import json
import re
import zipfile
from collections.abc import AsyncGenerator, Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from bot.errors import Reason, Refusal
from bot.guilds import personal as guilds
from bot.interface.wording.export import readme
from bot.storage.keys import DamagedError
from bot.voices import personal as voices

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from bot.storage.personal import PersonalData, PersonalTable, RowKey, Value

EXPORTED: tuple[PersonalTable, ...] = (*voices.PERSONAL, *guilds.PERSONAL)
"""All tables with something about people."""

NOT_EXPORTED: dict[str, str] = {**voices.NOT_PERSONAL, **guilds.NOT_PERSONAL}
"""All other tables, with the reason why nothing in them is about a person."""

MAX_AT_ONCE = 2
"""How many people's archives are packed at the same time. Each is in memory until it is sent."""

MAX_ARCHIVE_BYTES = 8 * 1024 * 1024
"""Discord takes files of this size everywhere."""

ROWS_PER_READ = 500
ROWS_PER_FILE = 5_000
"""The rest of a longer table goes into files of its own."""

_README_BYTES = 64 * 1024
"""Room in each archive for its readme."""

_FILE_OVERHEAD_BYTES = 512
"""What an archive needs for a file besides its content; names are shorter than 100 characters."""

_MAX_LABEL_CHARACTERS = 40
_NOT_IN_NAMES = re.compile(r"[^\w '\-.()]+")

OnFile = Callable[[int, int], None]
"""Told which file is packed, counted from 1, and of how many."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A zip archive, which can be opened without the others of the same export.

    Attributes:
        name: The name of its file.
        data: The file's bytes.
    """

    name: str
    data: bytes = field(repr=False)


class _Content(NamedTuple):
    """A file whose bytes are still in the database."""

    path: str
    kept: PersonalTable
    key: RowKey
    column: str


class Exports:
    """Packs what is kept about people, a person's one at a time.

    Args:
        data: Reads it.
        clock: Tells the time.
    """

    def __init__(
        self, data: PersonalData, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._data = data
        self._clock = clock
        self._under_way: set[int] = set()
        self._packing = asyncio.Semaphore(MAX_AT_ONCE)

    async def has_any(self, user_id: int) -> bool:
        """Return whether anything is kept about a person."""
        return await self._data.is_there(EXPORTED, user_id)

    async def archives(
        self, user_id: int, *, max_bytes: int, on_file: OnFile
    ) -> AsyncGenerator[Archive, None]:
        """Yield everything about a person, in as many archives as their size asks for.

        An archive is in memory until the next one is asked for. The first one has `about-me.json`.
        What can't be read any more is named in the readme of the archive that it would be in.

        Args:
            user_id: The person.
            max_bytes: No archive is larger, unless a single file is.
            on_file: Called as each file with a content of its own is read.

        Raises `Refusal` if the person's export is under way already.
        """
        with self._alone(user_id):
            async with self._packing:
                packing = _Packing(min(max_bytes, MAX_ARCHIVE_BYTES), self._clock())
                contents: list[_Content] = []
                async for path, text in self._tables(user_id, packing, contents):
                    full = await packing.add(path, text)
                    if full is not None:
                        yield full
                for number, content in enumerate(contents, start=1):
                    on_file(number, len(contents))
                    data = await self._read(user_id, packing, content)
                    full = None if data is None else await packing.add(content.path, data)
                    if full is not None:
                        yield full
                yield await packing.finish()

    @contextmanager
    def _alone(self, user_id: int) -> Iterator[None]:
        if user_id in self._under_way:
            raise Refusal(Reason.EXPORT_UNDER_WAY)
        self._under_way.add(user_id)
        try:
            yield
        finally:
            self._under_way.discard(user_id)

    async def _tables(
        self, user_id: int, packing: _Packing, contents: list[_Content]
    ) -> AsyncIterator[tuple[str, bytes]]:
        """Yield the JSON files; note what is damaged, and which contents are to be read."""
        about: dict[str, object] = {
            "discord_id": str(user_id),
            "exported_at": packing.at.isoformat(timespec="seconds"),
        }
        continued: list[tuple[PersonalTable, RowKey]] = []
        for kept in EXPORTED:
            rows, last = await self._rows(user_id, kept, None, packing, contents)
            if rows:
                about[kept.title] = rows
            if last is not None:
                continued.append((kept, last))
                about[f"{kept.title}_continued_in"] = f"{kept.title}-2.json and following"
        yield "about-me.json", await asyncio.to_thread(_to_json, about)
        del about
        for kept, begin in continued:
            after: RowKey | None = begin
            number = 1
            while after is not None:
                number += 1
                rows, after = await self._rows(user_id, kept, after, packing, contents)
                yield f"{kept.title}-{number}.json", await asyncio.to_thread(_to_json, rows)

    async def _rows(
        self,
        user_id: int,
        kept: PersonalTable,
        after: RowKey | None,
        packing: _Packing,
        contents: list[_Content],
    ) -> tuple[list[dict[str, Value]], RowKey | None]:
        """Return as many rows as a file has, and the key of the last one if there may be more."""
        shown: list[dict[str, Value]] = []
        while len(shown) < ROWS_PER_FILE:
            rows = await self._data.rows(kept, user_id, after=after, limit=ROWS_PER_READ)
            for row in rows:
                name = packing.unique(_file_name(row.key, row.label))
                for column in row.files:
                    path = f"{kept.title}/{name}.{kept.files[column]}"
                    contents.append(_Content(path, kept, row.key, column))
                    row.values[column] = path
                for column in row.damaged:
                    packing.damaged.append(f"{kept.title}/{name}: {column}")
                shown.append(row.values)
            if len(rows) < ROWS_PER_READ:
                return shown, None
            after = rows[-1].key
        return shown, after

    async def _read(self, user_id: int, packing: _Packing, content: _Content) -> bytes | None:
        """Return a file's content; None if it was deleted meanwhile, or is damaged."""
        try:
            return await self._data.content(content.kept, user_id, content.key, content.column)
        except DamagedError:
            packing.damaged.append(content.path)
            return None


class _Packing:
    """The archive that is being filled, and which ones were before it.

    Attributes:
        at: When the export began.
        damaged: What of this archive can't be read any more.
    """

    def __init__(self, max_bytes: int, at: datetime) -> None:
        self.at = at
        self.damaged: list[str] = []
        self._room = max_bytes - _README_BYTES
        self._number = 1
        self._names: set[str] = set()
        self._open()

    def _open(self) -> None:
        self._file = io.BytesIO()
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED)
        self._size = 0

    def unique(self, name: str) -> str:
        """Return a name for a row's files that no other row has."""
        number, chosen = 1, name
        while chosen.casefold() in self._names:
            number += 1
            chosen = f"{name} ({number})"
        self._names.add(chosen.casefold())
        return chosen

    async def add(self, path: str, data: bytes) -> Archive | None:
        """Add a file; return the archive before, if that had no room for it any more."""
        size = len(data) + _FILE_OVERHEAD_BYTES
        full = None
        if self._size and self._size + size > self._room:
            full = await asyncio.to_thread(self._close, f"about-me-{self._number}.zip")
            self._number += 1
            self._open()
        await asyncio.to_thread(self._zip.writestr, path, data)
        self._size += size
        return full

    async def finish(self) -> Archive:
        """Return the last archive."""
        name = "about-me.zip" if self._number == 1 else f"about-me-{self._number}.zip"
        return await asyncio.to_thread(self._close, name)

    def _close(self, name: str) -> Archive:
        self._zip.writestr("README.txt", readme(self.at, self._number, self.damaged))
        self._zip.close()
        self.damaged = []
        return Archive(name, self._file.getvalue())


def _file_name(key: RowKey, label: str | None) -> str:
    """A row's name in an archive, without what some systems don't take in names of files."""
    parts = [str(part) for part in key] + ([label] if label is not None else [])
    return _NOT_IN_NAMES.sub("_", " ".join(parts))[:_MAX_LABEL_CHARACTERS].rstrip(" .")


def _to_json(shown: object) -> bytes:
    return (json.dumps(shown, ensure_ascii=False, indent=2) + "\n").encode()
