# ruff: noqa: RUF001 - apostrophes of several kinds
"""Words are replaced by what a dictionary says for them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.text import replace_words, word_key

words = st.text(st.characters(categories=["L", "N", "M"]), min_size=1, max_size=5)
texts = st.lists(words | st.sampled_from([" ", ", ", "-", "。"]), max_size=20).map("".join)


def said(text: str, **spoken: str) -> str:
    return replaced(text, spoken)


def replaced(text: str, spoken: dict[str, str]) -> str:
    return replace_words(text, {word_key(word): say for word, say in spoken.items()})


@pytest.mark.parametrize(
    ("typed", "heard"),
    [
        ("GG", "good game"),
        ("gg, Gg! gG?", "good game, good game! good game?"),
        ("GG's (gg) “gg” gg-wp", "good game's (good game) “good game” good game-wp"),
        ("egg eggs ggg gg2 2gg GGwp", "egg eggs ggg gg2 2gg GGwp"),
        ("我们gg了", "我们good game了"),
    ],
)
def test_whole_words_are_replaced_whatever_their_case(typed: str, heard: str) -> None:
    assert said(typed, GG="good game") == heard


@pytest.mark.parametrize(
    ("word", "typed", "heard"),
    [
        ("straße", "Die STRAẞE und die Straßen", "Die X und die Straßen"),
        ("ΟΔΟΣ", "οδός οδος Οδος", "οδός X X"),
        ("Привет", "ПРИВЕТ, приветы", "X, приветы"),
        ("हिन्द", "हिन्द हिन्दी", "X हिन्दी"),
        ("سلام", "سلام، والسلام", "X، والسلام"),
        ("שלום", "שלום!", "X!"),
        ("北京", "我在北京。", "我在X。"),
        ("東京", "東京は大きい", "Xは大きい"),
        ("서울", "서울에서", "X에서"),
        ("กทม", "ฉันอยู่กทมครับ", "ฉันอยู่Xครับ"),
        ("e\u0301t\u00e9", "\u00c9t\u00e9", "X"),
        ("C++", "c++, C+++ c#", "X, X+ c#"),
        ("new york", "New York, new yorker", "X, new yorker"),
        ("é", "e\u0301e", "e\u0301e"),
        ("istanbul", "İstanbul, ISTANBUL", "X, X"),
        ("don't", "Don’t! DONʼT", "X! X"),
        ("l’ia", "L'IA", "X"),
        ("IA", "l'IA, d’ia", "l'X, d’X"),
        # a number, and a contraction, are whole words
        ("3", "3 3.5 12:3 1,3, 3. 3:", "X 3.5 12:3 1,3, X. X:"),
        ("don", "don don't Don’t Don's", "X don't Don’t X's"),
        ("I", "I I'm I'll i'd", "X I'm I'll i'd"),
        ("ve", "I've ve", "I've X"),
        # what is said does not run into what follows
        ("C++", "C++11 c++,c", "X 11 X,c"),
        ("$5", "5$5", "5 X"),
    ],
)
def test_in_any_script(word: str, typed: str, heard: str) -> None:
    assert replaced(typed, {word: "X"}) == heard


def test_the_longest_word_wins_and_shorter_ones_stand_in_for_it() -> None:
    spoken = {"new": "N", "new york": "NY", "york": "Y"}
    assert replaced("New York, new yorker, York", spoken) == "NY, N yorker, Y"


def test_nothing_that_was_put_in_is_looked_up_again() -> None:
    assert said("a b", a="b b", b="a") == "b b a"


@given(texts, st.dictionaries(words, st.text(max_size=5), max_size=5))
def test_agrees_with_a_plain_search(text: str, spoken: dict[str, str]) -> None:
    """What is left out of the text is what is in the dictionary, and nothing is lost."""
    marked = {word_key(word): f"\0{word_key(word)}\0" for word in spoken}
    parts = re.split("\0", replace_words(text, marked))
    assert key_of("".join(parts)) == key_of(text)
    assert set(parts[1::2]) <= set(marked)


def key_of(text: str) -> str:
    return "".join(map(word_key, text))


def test_takes_little_time_for_the_longest_text_and_the_fullest_dictionaries() -> None:
    spoken = {word_key("x" * (number % 40) + str(number)): "y" for number in range(400)}
    assert replace_words("x " * 2_500, spoken) == "x " * 2_500
