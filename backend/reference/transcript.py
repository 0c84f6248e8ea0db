"""Listening to reference clips beside the event loop, where there is something to listen with.

The transcript that a voice prompt rests on is what a person gave, else what was heard, else none.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from backend.contract import (
    REFERENCE_SAMPLE_RATE,
    BackendUnavailableError,
    Heard,
    SpeechError,
)
from backend.reference.transcript_match import Verdict, compare

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from backend.reference.transcriber import Transcriber, Transcription

log = logging.getLogger(__name__)


class Hearing:
    """A transcriber that is loaded when somebody first needs it, and may be missing.

    Speaking needs none, so the first sentence after a cold start does not wait for it.

    Args:
        load: Loads it, in a thread; None if there is none.
    """

    def __init__(self, load: Callable[[], Transcriber] | None) -> None:
        self._load = load
        self._loading: asyncio.Task[Transcriber | None] | None = None

    @property
    def is_there(self) -> bool:
        """Whether there is a transcriber, as far as is known."""
        return self._load is not None

    async def hear(self, samples: NDArray[np.float32]) -> Transcription | None:
        """Write down what a clip says.

        Args:
            samples: Mono `(n,)` in [-1, 1] at `REFERENCE_SAMPLE_RATE`.

        Returns:
            What was heard, or None if nothing can listen now. A voice can be made without.

        Raises `ReferenceUnusableError` for a clip that cannot serve.
        """
        transcriber = await self._transcriber()
        if transcriber is None:
            return None
        try:
            return await asyncio.to_thread(transcriber.transcribe, samples, REFERENCE_SAMPLE_RATE)
        except SpeechError:
            raise
        except Exception as error:  # noqa: BLE001 - such as a GPU that is out of memory
            log.error("listening failed with %s", type(error).__name__)  # noqa: TRY400 - texts stay out of logs
            return None

    async def listen(
        self, samples: NDArray[np.float32], given: str | None
    ) -> tuple[str | None, Heard | None]:
        """Find the transcript of a clip, and say what was heard in it.

        A transcript that a person gave stands, even if something else was heard: recognisers err.

        Args:
            samples: As for `hear`.
            given: What a person says is said in it, if anybody did.

        Returns:
            The transcript, or None if nobody knows it; and what was heard, or None if nothing
            can listen.
        """
        given = (given or "").strip() or None
        heard = await self.hear(samples)
        if heard is None:
            return given, None
        differs = given is not None and compare(given, heard) is Verdict.DIFFERS
        return given or heard.text or None, Heard(heard.text, heard.language, differs)

    async def _transcriber(self) -> Transcriber | None:
        if self._loading is None:
            self._loading = asyncio.create_task(self._load_once())
        return await asyncio.shield(self._loading)  # one caller's end does not end it for others

    async def _load_once(self) -> Transcriber | None:
        if self._load is None:
            return None
        try:
            return await asyncio.to_thread(self._load)
        except BackendUnavailableError as error:
            log.warning("nothing listens to reference clips: %s", error)
            self._load = None
            return None
