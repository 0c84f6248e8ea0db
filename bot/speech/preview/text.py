"""Which texts the preview voice can speak: English, in Latin letters."""

from __future__ import annotations

import unicodedata
from collections import Counter

from backend.contract import (
    AUTO_LANGUAGE,
    MAX_SPOKEN_CHARACTERS,
    LanguageNotSupportedError,
    TextNotSpeakableError,
)

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


def check_readable(text: str, language: str) -> None:
    """Return if the preview voice can speak a text.

    Raises `LanguageNotSupportedError` if another language is requested, or if most letters are of
    another language's script. Raises `TextNotSpeakableError` for a text without letters or digits,
    or one longer than `MAX_SPOKEN_CHARACTERS`.
    """
    if language not in PREVIEW_LANGUAGES:
        raise LanguageNotSupportedError(language, PREVIEW_LANGUAGES)
    if len(text) > MAX_SPOKEN_CHARACTERS:
        raise TextNotSpeakableError(
            f"one call speaks at most {MAX_SPOKEN_CHARACTERS} characters, not {len(text)}"
        )
    if not any(character.isalnum() for character in text):
        raise TextNotSpeakableError("the text holds no letters or digits")
    written_in = _language_of(text)
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
