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

_MAX_SAMPLES = round(MAX_CHECKED_SECONDS * REFERENCE_SAMPLE_RATE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a search found.

    Attributes:
        is_marked: Whether the recording carries the watermark.
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

    def marking_backend(self) -> MarkingBackend:
        """Return the speech backend. Raises `Refusal` if it marks nothing."""
        if not isinstance(self._speech, MarkingBackend):
            raise Refusal(Reason.NOTHING_IS_MARKED)
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
        samples = await self._reader.read_sound(upload)
        flac = await asyncio.to_thread(_to_flac, samples)
        on_step(Step.SEARCHING)
        try:
            is_marked = await backend.find_watermark(flac, caller=caller)
        except asyncio.CancelledError:
            on_speech(COUNTED_SECONDS)
            raise
        on_speech(COUNTED_SECONDS)
        return Verdict(is_marked, goes_on=len(samples) > _MAX_SAMPLES)


def _to_flac(samples: NDArray[np.float32]) -> bytes:
    """Write the samples that are searched as a file; what isn't a number becomes silence."""
    searched = np.nan_to_num(samples[:_MAX_SAMPLES], posinf=0.0, neginf=0.0)
    searched /= max(1.0, float(np.abs(searched).max(initial=0.0)))
    return clips.to_flac(clips.to_pcm16(searched), max_seconds=MAX_CHECKED_SECONDS)
