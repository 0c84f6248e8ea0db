"""Which texts the preview voice can speak, English in Latin letters, and how Piper gets them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING

from backend.contract import (
    AUTO_LANGUAGE,
    LanguageNotSupportedError,
    TextNotSpeakableError,
    check_request,
)

if TYPE_CHECKING:
    from backend.contract import SpeechRequest

PREVIEW_LANGUAGES = (AUTO_LANGUAGE, "English")

_LATIN = "English"
_LANGUAGE_OF_SCRIPT = {
    "LATIN": _LATIN,
    "CJK": "Chinese",
    "HIRAGANA": "Japanese",
    "KATAKANA": "Japanese",
    "HANGUL": "Korean",
    "CYRILLIC": "Russian",
}

_PHONEMES = re.compile(r"\[{2,}")
_COMPARISON = re.compile(r"[<>]=?")
_COMPARED = {
    "<": "less than",
    "<=": "at most",
    ">": "more than",
    ">=": "at least",
}


def for_piper(text: str) -> str:
    """Return a text as Piper should get it.

    Piper takes what follows `[[` for phonemes, and drops `<` and `>`. So only single brackets are
    left, and comparisons are put into words.
    """
    text = _COMPARISON.sub(lambda sign: f" {_COMPARED[sign[0]]} ", text)
    return _PHONEMES.sub("[", text)


def check_readable(request: SpeechRequest) -> None:
    """Return if the preview voice can speak a request's text.

    Raises what `check_request` raises. Also raises `TextNotSpeakableError` for a text without
    letters or digits, and `LanguageNotSupportedError` if most letters are of the script of another
    language.
    """
    check_request(request, PREVIEW_LANGUAGES)
    if not any(character.isalnum() for character in request.text):
        raise TextNotSpeakableError("the text holds no letters or digits")
    written_in = _language_of(request.text)
    if written_in != _LATIN:
        raise LanguageNotSupportedError(written_in, PREVIEW_LANGUAGES)


def _language_of(text: str) -> str:
    """Name the language that most of the letters suggest.

    Japanese mixes kana with Chinese characters, so any kana means Japanese.
    """
    plain = unicodedata.normalize("NFKC", text)
    letters = Counter(_script_language(letter) for letter in plain if letter.isalpha())
    latin = letters.pop(_LATIN, 0)
    if latin >= letters.total():
        return _LATIN
    if "Japanese" in letters:
        letters["Japanese"] += letters.pop("Chinese", 0)
    return letters.most_common(1)[0][0]


def _script_language(letter: str) -> str:
    """Name the language of a letter's script, or the script if no language is known for it."""
    script = unicodedata.name(letter, "another").partition(" ")[0]
    return _LANGUAGE_OF_SCRIPT.get(script, script.capitalize())
