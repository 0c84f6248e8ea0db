"""Speech that one container began and another one goes on with."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bot.speech.errors import SpeechInterruptedError

if TYPE_CHECKING:
    from backend.contract import PcmChunk

_SAMPLE_BYTES = 2


class Seam:
    """Fits chunks together that may come from two runs of the same call.

    If a container is lost, Modal has another one begin the call anew, and its client drops as many
    chunks of the second run as it had of the first. The seed makes both runs say the same; but
    where a chunk ends depends on who is spoken with, so the two may overlap, or leave a gap.
    """

    def __init__(self) -> None:
        self._samples = 0
        self._began_anew = False

    def begin_anew(self) -> None:
        """Be told that the next chunk is the first of another run."""
        self._began_anew = True

    def fit(self, chunk: PcmChunk) -> PcmChunk:
        """Return what of a chunk was not heard yet, which may be nothing.

        Raises `SpeechInterruptedError` if something before it is missing.
        """
        if self._began_anew and chunk.first_sample is None:
            chunk = replace(chunk, restarts=True)
        self._began_anew = False
        if chunk.restarts:
            self._samples = 0
        first = self._samples if chunk.first_sample is None else chunk.first_sample
        if first > self._samples:
            raise SpeechInterruptedError("two runs of the call do not fit together")
        heard = self._samples - first
        if heard:
            chunk = replace(chunk, pcm=chunk.pcm[heard * _SAMPLE_BYTES :], first_sample=None)
        self._samples += len(chunk.pcm) // _SAMPLE_BYTES
        return chunk
