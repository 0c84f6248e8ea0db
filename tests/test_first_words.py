"""What a new voice says by itself."""

from __future__ import annotations

import pytest

from backend.contract import AUTO_LANGUAGE, LANGUAGES
from bot.interface.wording.first_words import FIRST_WORDS, first_language
from bot.text import clean, guess_language, split


def test_there_are_some_in_each_language_that_a_model_speaks() -> None:
    assert {AUTO_LANGUAGE, *FIRST_WORDS} == set(LANGUAGES)


@pytest.mark.parametrize(("language", "words"), FIRST_WORDS.items())
def test_they_are_in_their_language_and_nothing_of_them_is_lost(language: str, words: str) -> None:
    cleaned = clean(words, name_of=lambda *_mention: None)
    assert guess_language(cleaned) == language
    assert len(split(cleaned, language=language)) in {2, 3}
    letters = [each for each in words if each.isalnum()]
    assert [each for each in cleaned if each.isalnum()] == letters


@pytest.mark.parametrize(
    ("heard", "spoken", "language"),
    [
        ("German", LANGUAGES, "German"),
        ("Polish", LANGUAGES, "English"),
        (None, LANGUAGES, "English"),
        ("German", (AUTO_LANGUAGE, "Japanese", "Korean"), "Japanese"),
        (AUTO_LANGUAGE, (AUTO_LANGUAGE, "English"), "English"),
    ],
)
def test_their_language_is_one_that_the_engine_speaks(
    heard: str | None, spoken: tuple[str, ...], language: str
) -> None:
    assert first_language(heard, spoken) == language
