# ruff: noqa: RUF001 - people type in many scripts
"""Texts are split where people would pause."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract import AUTO_LANGUAGE, LANGUAGES, MAX_SPOKEN_CHARACTERS
from bot.text import MAX_SENTENCE_CHARACTERS, split
from tests.text.typed import TYPED, heard


def sentences(text: str, language: str = AUTO_LANGUAGE) -> list[str]:
    return [sentence.text for sentence in split(text, language=language)]


@pytest.mark.parametrize(
    ("language", "text", "spoken"),
    [
        (
            "English",
            "Dr. Smith paid $3.50. Was it enough? He thinks so!",
            ["Dr. Smith paid $3.50.", "Was it enough?", "He thinks so!"],
        ),
        (
            "German",
            "Am 3. Mai kam er z.B. nach Berlin. Das war gut so.",
            ["Am 3. Mai kam er z.B. nach Berlin.", "Das war gut so."],
        ),
        ("French", "M. Dupont est là. Ça va bien ?", ["M. Dupont est là.", "Ça va bien ?"]),
        ("Spanish", "¿Cómo estás? ¡Muy bien, gracias!", ["¿Cómo estás?", "¡Muy bien, gracias!"]),
        (
            "Italian",
            "Il dott. Rossi è arrivato. Buona giornata!",
            ["Il dott. Rossi è arrivato.", "Buona giornata!"],
        ),
        ("Portuguese", "Olá, tudo bem? Sim, e você?", ["Olá, tudo bem?", "Sim, e você?"]),
        ("Russian", "Привет, как дела? Всё в порядке.", ["Привет, как дела?", "Всё в порядке."]),
        ("Chinese", "今天天气很好！我们出去走走吧。", ["今天天气很好！", "我们出去走走吧。"]),
        ("Japanese", "こんにちは。お元気ですか？", ["こんにちは。", "お元気ですか？"]),
        ("Korean", "안녕하세요. 오늘 날씨가 좋네요!", ["안녕하세요.", "오늘 날씨가 좋네요!"]),
        ("Auto", "今天天气很好！我们出去走走吧。", ["今天天气很好！", "我们出去走走吧。"]),
        ("Auto", "こんにちは。お元気ですか？", ["こんにちは。", "お元気ですか？"]),
        # fragments join the next sentence, and the last one joins the one before
        ("English", "1. Crack the eggs. 2. Stir well.", ["1. Crack the eggs.", "2. Stir well."]),
        ("English", "Hm. That is a good question. Yes.", ["Hm. That is a good question. Yes."]),
        ("English", "Hi!", ["Hi!"]),
        ("Chinese", "好。我们现在就出去走走吧。", ["好。我们现在就出去走走吧。"]),
        ("Auto", "", []),
    ],
)  # fmt: skip
def test_sentences_as_people_would_read_them(language: str, text: str, spoken: list[str]) -> None:
    assert sentences(text, language) == spoken


def test_paragraphs_end_where_they_were_typed() -> None:
    text = "This is the first. It has two sentences.\n\nThis is the second."

    assert [sentence.ends_paragraph for sentence in split(text, language="English")] == [
        False,
        True,
        True,
    ]


def test_a_long_sentence_is_cut_between_clauses() -> None:
    clause = "and the road goes ever on and on, "
    parts = sentences((clause * 20).strip())

    assert all(part.endswith("on.") for part in parts)
    assert all(100 < len(part) <= MAX_SENTENCE_CHARACTERS for part in parts)


def test_a_long_sentence_without_clauses_is_cut_between_words() -> None:
    parts = sentences("over and " * 100)

    assert {word for part in parts for word in part.rstrip(".").split()} == {"over", "and"}
    assert all(150 < len(part) <= MAX_SENTENCE_CHARACTERS for part in parts)


def test_a_piece_never_takes_one_character_too_many() -> None:
    parts = split(
        "x" * 20 + "\N{HORIZONTAL ELLIPSIS}" + "y" * 12, language="English", max_characters=20
    )

    assert max(len(part.text) for part in parts) <= 20


def test_chinese_is_cut_sooner_for_it_takes_longer_to_say() -> None:
    assert sentences("路" * 240) == ["路" * 80 + "。"] * 3


def test_an_accent_stays_with_its_letter() -> None:
    text = "x\u0323\u0301" * 151  # no composed form exists

    assert all(part.startswith("x") for part in sentences(text))


def length(text: str) -> int:
    """A wide character counts as three."""
    return sum(3 if unicodedata.east_asian_width(char) in {"W", "F"} else 1 for char in text)


def words(text: str) -> str:
    """All that can be spoken of a text: its letters and digits."""
    return "".join(filter(str.isalnum, text))


WORDS = st.sampled_from(
    [
        *[
            "well",
            "Dr.",
            "then,",
            "so!",
            "why?",
            "1.",
            "路很长，",
            "好。",
            "はい！",
            "네.",
            "да;",
            "(a)",
            "…",
        ],
        "x" * 50,
        "路" * 40,
    ]
)
SEPARATORS = st.sampled_from([" ", "", "\n\n"])


@given(
    st.lists(st.tuples(WORDS, SEPARATORS), max_size=60).map(
        lambda pairs: "".join(word + separator for word, separator in pairs)
    )
    | TYPED,
    st.sampled_from(LANGUAGES),
    st.integers(20, MAX_SPOKEN_CHARACTERS),
)
def test_splitting_loses_nothing_and_keeps_the_limit(
    typed: str, language: str, max_characters: int
) -> None:
    text = heard(typed)
    parts = split(text, language=language, max_characters=max_characters)

    assert words("".join(part.text for part in parts)) == words(text)
    assert all(words(part.text) and part.text == part.text.strip() for part in parts)
    assert all(length(part.text) <= max_characters for part in parts)
    assert sum(part.ends_paragraph for part in parts) == len(text.split("\n\n")) * bool(text)
    assert not parts or parts[-1].ends_paragraph
