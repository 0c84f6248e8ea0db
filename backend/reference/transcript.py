"""Finds the transcript of a reference clip: what a person gave, else what was heard, else none.

A given transcript stands even where the transcriber disagrees, because transcribers make errors.
The two are compared only to tell the person. The comparison is lenient, because people spell,
punctuate and write numbers in different ways. It is stricter about length: misheard words are about
as long as the spoken ones, so a transcript that is much shorter or longer leaves something out, or
has something twice. It compares characters, not words, because some languages are written without
spaces.
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

_DIFFERENT_LENGTH = 0.7
"""Texts differ if one has less than this share of the other's length: something is left out."""

_FEW_LETTERS = 2
"""So many more letters may be missing, which is a large share of a very short text."""

_KANA_OF_A_KANJI = 2
"""About how many kana one Chinese character is read as, in Japanese."""

_LETTERS_OF_A_DIGIT = 8
"""The most letters of a digit in words: "fourteen", "siebzehn"."""

_SIGNS = "%&@#°"
_SYMBOLS = {"Sc", "Sm"}

_CHINESE = "CJK"
_KANA = {"HIRAGANA", "KATAKANA"}
_SAME_AS = dict.fromkeys(_KANA, _CHINESE)  # Japanese mixes all three

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
    longest = max(len(spoken), len(written))
    spelled_out = _LETTERS_OF_A_DIGIT * sum(map(str.isdecimal, spoken + written))
    edits = Levenshtein.distance(spoken, written) - spelled_out
    tolerated = _DIFFERENT_IN_CHINESE_SCRIPT if script == _CHINESE else _DIFFERENT
    return edits > tolerated * longest or _differ_in_length(heard.text, given)


def _differ_in_length(one: str, other: str) -> bool:
    """Whether one text is so much shorter than the other that something is left out of it.

    Digits and signs that only the shorter one has may be words in the longer one.
    """
    is_japanese = any(_script_of(letter) in _KANA for letter in _letters(one + other))
    lengths = {text: _spoken_length(text, is_japanese=is_japanese) for text in (one, other)}
    shorter, longer = sorted((one, other), key=lengths.__getitem__)
    short_forms = Counter(filter(_is_short_form, shorter)) - Counter(longer)
    allowed = _FEW_LETTERS + _LETTERS_OF_A_DIGIT * short_forms.total()
    return _DIFFERENT_LENGTH * lengths[longer] - lengths[shorter] > allowed


def _spoken_length(text: str, *, is_japanese: bool) -> int:
    """How many letters a text has. In Japanese, as if it were written in kana."""
    letters = _letters(text)
    if not is_japanese:
        return len(letters)
    return sum(_KANA_OF_A_KANJI if _script_of(each) == _CHINESE else 1 for each in letters)


def _is_short_form(character: str) -> bool:
    """Whether a character is spoken as a word: a digit, or a sign such as %, € or +."""
    return (
        character.isdecimal() or character in _SIGNS or unicodedata.category(character) in _SYMBOLS
    )


def _letters(text: str) -> str:
    """The letters and digits alone, without case and accents; Hangul as its single sounds."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(filter(str.isalnum, plain))


def _script(letters: str) -> str:
    """The script of most letters, by their Unicode names; empty if there are only digits."""
    words = (_script_of(letter) for letter in letters if not letter.isdecimal())
    scripts = Counter(_SAME_AS.get(word, word) for word in words)
    return max(scripts, key=scripts.__getitem__, default="")


def _script_of(letter: str) -> str:
    """The first word of a character's Unicode name; empty if it has none."""
    return unicodedata.name(letter, "").partition(" ")[0]
