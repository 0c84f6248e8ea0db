"""Tells whether a recording was made by this bot: whether it carries the watermark."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from backend.contract import MAX_CHECKED_SECONDS, REFERENCE_SAMPLE_RATE
from bot.audio import clip as clips
from bot.errors import Reason, Refusal
from bot.speech.backend import MarkingBackend
from bot.studio import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bot.audio.reference import ReferenceReader
    from bot.speech.backend import SpeechBackend

COUNTED_SECONDS = 10.0
"""As how much speech a search counts, whatever the recording's length: it takes less than that."""

PEAK = 0.5
"""To this level each recording is brought. Where it is very quiet, the search is less sure."""

_MAX_SAMPLES = round(MAX_CHECKED_SECONDS * REFERENCE_SAMPLE_RATE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a search found.

    Attributes:
        is_marked: Whether it is speech that carries the watermark.
        goes_on: Whether it is longer than `MAX_CHECKED_SECONDS`, so that only its beginning was
            searched.
    """

    is_marked: bool
    goes_on: bool


class Verification:
    """Searches uploads for the speech backend's watermark."""

    def __init__(self, *, speech: SpeechBackend, reader: ReferenceReader) -> None:
        self._speech = speech
        self._reader = reader

    @property
    def can_search(self) -> bool:
        """Whether the speech backend finds its mark."""
        return isinstance(self._speech, MarkingBackend)

    def marking_backend(self) -> MarkingBackend:
        """Return the speech backend. Raises `Refusal` if it marks nothing."""
        if not isinstance(self._speech, MarkingBackend):
            is_preview = not self._speech.info().clones
            raise Refusal(Reason.PREVIEW_MARKS_NOTHING if is_preview else Reason.NOTHING_IS_MARKED)
        return self._speech

    async def search(
        self,
        upload: bytes,
        *,
        caller: str,
        on_step: Callable[[Step], None],
        on_speech: Callable[[float], None],
    ) -> Verdict:
        """Search a recording.

        Args:
            upload: The file's bytes.
            caller: Who the search counts for, see `SpeechRequest`.
            on_step: Called as each step begins.
            on_speech: Called with `COUNTED_SECONDS` once the backend has worked on it.

        Raises `Refusal` or a `SpeechError`.
        """
        backend = self.marking_backend()
        on_step(Step.LISTENING)
        sound = await self._reader.read_sound(upload)
        samples, flac = await asyncio.to_thread(_searchable, sound)
        on_step(Step.SEARCHING)
        try:
            is_marked = await backend.find_watermark(flac, caller=caller)
        except asyncio.CancelledError:
            on_speech(COUNTED_SECONDS)
            raise
        on_speech(COUNTED_SECONDS)
        # A steady tone may look like the mark, which is in speech alone.
        if is_marked and not await self._reader.has_speech(samples):
            is_marked = False
        return Verdict(is_marked, goes_on=len(sound) > len(samples))


def _searchable(sound: NDArray[np.float32]) -> tuple[NDArray[np.float32], bytes]:
    """Return what is searched of a recording, at one level, and the same as a FLAC file.

    What isn't a number becomes silence.
    """
    samples = np.nan_to_num(sound[:_MAX_SAMPLES], posinf=0.0, neginf=0.0)
    peak = np.abs(samples).max(initial=0.0)
    if peak > 0:
        samples = (samples / peak * PEAK).astype(np.float32)
    return samples, clips.to_flac(clips.to_pcm16(samples), max_seconds=MAX_CHECKED_SECONDS)
