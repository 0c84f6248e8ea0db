"""A scripted backend that finds a mark where a test says so."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import soundfile

from tests.support.scripted_backend import ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import numpy as np
    from numpy.typing import NDArray


class MarkingScriptedBackend(ScriptedBackend):
    """A `ScriptedBackend` whose speech is marked.

    Attributes:
        finds: Whether it finds the mark in every recording.
        on_search: Awaited before each search; it may wait, or raise.
        searched: The samples of each recording that was searched, mono at 24 kHz.
        callers: Who each search counted for.
    """

    def forget(self) -> None:
        super().forget()
        self.finds = True
        self.on_search: Callable[[], Awaitable[None]] | None = None
        self.searched: list[NDArray[np.float32]] = []
        self.callers: list[str] = []

    async def find_watermark(self, flac: bytes, *, caller: str) -> bool:
        samples, rate = soundfile.read(io.BytesIO(flac), dtype="float32")
        assert (rate, samples.ndim) == (24_000, 1)
        self.searched.append(samples)
        self.callers.append(caller)
        if self.on_search is not None:
            await self.on_search()
        return self.finds
