"""The languages that requests name."""

from __future__ import annotations

from backend.contract import LANGUAGES, LanguageNotSupportedError

_BY_KEY = {language.casefold(): language for language in LANGUAGES}


def language_named(wanted: str | None) -> str | None:
    """Return a language as the model spells it, whatever the case; None if none is named.

    Raises `LanguageNotSupportedError`.
    """
    if wanted is None or not wanted.strip():
        return None
    language = _BY_KEY.get(wanted.strip().casefold())
    if language is None:
        raise LanguageNotSupportedError(wanted.strip(), LANGUAGES)
    return language
