"""Finds the transcript of a reference clip: what a person gave, else what was heard, else none.

A given transcript stands even where the transcriber disagrees, because transcribers make errors.
The two are compared only to tell the person. The comparison is lenient, because people spell,
punctuate and write numbers in different ways. It compares characters, not words, because some
languages are written without spaces.
"""

from __future__ import annotations

import asyncio
import logging
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING

from rapidfuzz.distance import Levenshtein

from backend.contract import REFERENCE_SAMPLE_RATE, BackendUnavailableError, Heard, SpeechError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from backend.reference.transcriber import Transcriber, Transcription

log = logging.getLogger(__name__)

_DIFFERENT = 0.55
"""Edits per character above which alphabetic texts differ. Misheard text has about 0.2, another
text about 0.65."""

_DIFFERENT_IN_CHINESE_SCRIPT = 0.75
"""The same for Chinese and Japanese, where one sound has several spellings: another text has about
0.85."""

_DIFFERENT_LENGTH = 0.4
"""Texts differ if one has less than this share of the other's length: something is left out."""

_LETTERS_OF_A_DIGIT = 8
"""The most letters of a digit in words: "fourteen", "siebzehn"."""

_CHINESE = "CJK"
_SAME_AS = {"HIRAGANA": _CHINESE, "KATAKANA": _CHINESE}  # Japanese mixes all three

_FEWEST_LETTERS = 4
_SURE_OF_LANGUAGE = 0.8


class LazyTranscriber:
    """A transcriber that is loaded on first use, and may be missing.

    Speech needs none, so the first sentence after a cold start does not wait for it.

    Args:
        load: Loads it; called in a thread. None if there is no transcriber.
    """

    def __init__(self, load: Callable[[], Transcriber] | None) -> None:
        self._load = load
        self._loading: asyncio.Task[Transcriber | None] | None = None

    @property
    def is_there(self) -> bool:
        """Whether there is a transcriber. Loading it may still fail."""
        return self._load is not None

    async def transcribe(self, samples: NDArray[np.float32]) -> Transcription | None:
        """Write down what a clip says.

        Args:
            samples: Mono `(n,)` in [-1, 1] at `REFERENCE_SAMPLE_RATE`.

        Returns:
            What it says; None if there is no transcriber or it failed. A voice can be made without.

        Raises `ReferenceUnusableError` for a clip that cannot serve.
        """
        if self._loading is None:
            self._loading = asyncio.create_task(self._load_once())
        # Shielded: a cancelled caller must not cancel the loading for the others.
        transcriber = await asyncio.shield(self._loading)
        if transcriber is None:
            return None
        try:
            return await asyncio.to_thread(transcriber.transcribe, samples, REFERENCE_SAMPLE_RATE)
        except SpeechError:
            raise
        except Exception as error:  # noqa: BLE001 - such as a GPU that is out of memory
            log.error("transcribing failed with %s", type(error).__name__)  # noqa: TRY400 - texts stay out of logs
            return None

    async def find_transcript(
        self, samples: NDArray[np.float32], given: str | None
    ) -> tuple[str | None, Heard | None]:
        """Find the transcript of a clip, and say what was heard in it.

        Args:
            samples: As for `transcribe`.
            given: The transcript that a person gave, if any.

        Returns:
            The transcript, or None if it is not known; and what was heard, or None if `transcribe`
            returned None.
        """
        heard = await self.transcribe(samples)
        if heard is None:
            return given, None
        differs = given is not None and is_other_text(given, heard)
        return given or heard.text or None, Heard(heard.text, heard.language, differs)

    async def _load_once(self) -> Transcriber | None:
        if self._load is None:
            return None
        try:
            return await asyncio.to_thread(self._load)
        except BackendUnavailableError as error:
            log.warning("reference clips are not transcribed: %s", error)
            self._load = None
            return None


def is_other_text(given: str, heard: Transcription) -> bool:
    """Whether a transcript that a person gave plainly says something else than was heard."""
    spoken, written = _letters(heard.text), _letters(given)
    if len(spoken) < _FEWEST_LETTERS:
        return False
    script, other = _script(spoken), _script(written)
    if script != other and script and other:
        # Many people write Japanese or Russian in Latin letters; nobody writes English in theirs.
        is_transliteration = other == "LATIN"
        return not is_transliteration and heard.language_confidence >= _SURE_OF_LANGUAGE
    shorter, longer = sorted([spoken, written], key=len)
    spelled_out = _LETTERS_OF_A_DIGIT * sum(map(str.isdecimal, spoken + written))
    left_out = _DIFFERENT_LENGTH * len(longer) - len(shorter)
    edits = Levenshtein.distance(spoken, written) - spelled_out
    tolerated = _DIFFERENT_IN_CHINESE_SCRIPT if script == _CHINESE else _DIFFERENT
    return edits > tolerated * len(longer) or left_out > spelled_out


def _letters(text: str) -> str:
    """The letters and digits alone, without case and accents; Hangul as its single sounds."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(filter(str.isalnum, plain))


def _script(letters: str) -> str:
    """The script of most letters, by their Unicode names; empty if there are only digits."""
    names = (unicodedata.name(letter, "") for letter in letters if not letter.isdecimal())
    first_words = (name.split(" ")[0] for name in names)
    scripts = Counter(_SAME_AS.get(word, word) for word in first_words)
    return max(scripts, key=scripts.__getitem__, default="")
