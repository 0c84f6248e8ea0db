"""A transcript that says something else is noticed; one that is only spelled differently is not."""

# ruff: noqa: RUF001 - Chinese and Japanese have commas of their own

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.reference.transcriber import Transcription
from backend.reference.transcript import is_other_text

SPOKEN = {
    "English": (
        "The birch canoe slid on the smooth planks, and nobody looked up.",
        "Glue the sheet to the dark blue background before the paint dries.",
    ),
    "Chinese": ("今天天气很好，我们去公园散步吧。", "请把窗户关上，外面的风太大了。"),
    "Japanese": (
        "今日はとても天気がいいので、公園に散歩に行きましょう。",
        "窓を閉めてください、風が強すぎます。",
    ),
    "Korean": (
        "오늘은 날씨가 아주 좋으니 공원으로 산책을 갑시다.",
        "창문을 닫아 주세요, 바람이 너무 셉니다.",
    ),
    "Russian": (
        "Сегодня очень хорошая погода, пойдём гулять в парк.",
        "Закройте, пожалуйста, окно, на улице сильный ветер.",
    ),
    "German": (
        "Heute ist das Wetter sehr schön, gehen wir im Park spazieren.",
        "Bitte schließ das Fenster, draußen weht ein starker Wind.",
    ),
    "Spanish": (
        "Hoy hace muy buen tiempo, vamos a pasear por el parque.",
        "Este libro cuenta cómo un joven encontró trabajo en la ciudad.",
    ),
}
ALPHABETIC = ("English", "German", "Spanish", "Russian", "Korean")


def heard(text: str, language: str | None = "English", confidence: float = 1.0) -> Transcription:
    return Transcription(text, language, confidence)


@pytest.mark.parametrize("language", SPOKEN)
def test_the_same_words_match_and_other_words_differ(language: str) -> None:
    said, other = SPOKEN[language]
    assert not is_other_text(said, heard(said, language))
    assert is_other_text(other, heard(said, language))
    assert is_other_text(said, heard(other, language))


@pytest.mark.parametrize(
    ("given_text", "heard_text"),
    [
        (
            "the birch canoe slid on the smooth planks",
            "The birch can use lid on the smooth planks.",
        ),
        ("I'm 21 and it's 1999!", "I am twenty-one, and it is nineteen ninety-nine."),
        ("It's 50% of €20 + 7.", "It is fifty percent of twenty euros plus seven."),
        ("わたしはとうきょうにすんでいます", "私は東京に住んでいます"),
        ("1 2 3 4 5", "One, two, three, four, five."),
        ("HOLA MUNDO, QUE TAL", "Hola mundo. ¿Qué tal?"),
        ("Über Größe", "uber grosse"),
        ("きょうはてんきがいいですね", "今日は天気がいいですね"),
        ("今天天氣很好，我們去公園散步吧。", "今天天气很好，我们去公园散步吧。"),
        ("오늘은날씨가아주좋으니", "오늘은 날씨가 아주 좋으니."),
        ("ｆｕｌｌ　ｗｉｄｔｈ", "full width"),
    ],
)
def test_spelling_is_no_difference(given_text: str, heard_text: str) -> None:
    assert not is_other_text(given_text, heard(heard_text))


@pytest.mark.parametrize("language", SPOKEN)
@pytest.mark.parametrize("share", [0.2, 0.35, 0.45, 0.5, 0.55, 0.6])
def test_a_transcript_of_a_part_differs(language: str, share: float) -> None:
    said = " ".join(SPOKEN[language])
    kept = round(share * len(said))
    for part in (said[:kept], said[len(said) - kept :]):
        assert is_other_text(part, heard(said, language))
        assert is_other_text(said, heard(part, language)), "the recording ends early"


@pytest.mark.parametrize("language", SPOKEN)
@pytest.mark.parametrize("times", [2, 3])
def test_a_transcript_that_was_written_twice_differs(language: str, times: int) -> None:
    for said in SPOKEN[language]:
        assert is_other_text(" ".join([said] * times), heard(said, language))


@pytest.mark.parametrize("language", SPOKEN)
@pytest.mark.parametrize("share", [0.85, 0.95])
def test_a_word_that_is_missing_is_no_difference(language: str, share: float) -> None:
    said = " ".join(SPOKEN[language])
    assert not is_other_text(said[: round(share * len(said))], heard(said, language))
    assert not is_other_text(said, heard(said[: round(share * len(said))], language))


@pytest.mark.parametrize(
    "said", ["In 1999 I was 21, and she was 20 years old. That's 25 years ago."]
)
def test_numbers_in_both_do_not_excuse_what_is_missing(said: str) -> None:
    assert not is_other_text(said, heard(said))
    assert is_other_text(said[: len(said) // 2], heard(said))
    assert is_other_text(said * 2, heard(said))


def test_a_transcript_of_nothing_differs_from_words() -> None:
    assert is_other_text("...", heard(SPOKEN["English"][0]))


def test_where_nobody_was_heard_nothing_differs() -> None:
    assert not is_other_text("Hello there, everybody.", heard(""))
    assert not is_other_text("Hello there, everybody.", heard("!?"))


def test_another_script_is_another_text_unless_it_may_be_a_transliteration() -> None:
    english, japanese = SPOKEN["English"][0], SPOKEN["Japanese"][0]
    assert is_other_text(japanese, heard(english))
    assert not is_other_text("kyou wa totemo tenki ga ii", heard(japanese, "Japanese"))


def test_a_script_counts_only_if_the_language_is_certain() -> None:
    english_only = heard("Keel was all tokey tinky", "English", confidence=0.0)
    assert not is_other_text(SPOKEN["Japanese"][0], english_only)


WORDS = st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=9), max_size=60)


@given(WORDS, st.data())
def test_case_and_punctuation_never_matter(words: list[str], data: st.DataObject) -> None:
    marks = st.sampled_from([" ", ", ", ". ", " - ", "… ", "!\n"])
    decorated = "".join(word.upper() + data.draw(marks) for word in words)
    assert not is_other_text(decorated.lower(), heard(decorated))


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_two_texts_can_be_compared(one: str, other: str) -> None:
    assert is_other_text(one, heard(other)) in {True, False}
    assert not is_other_text(one, heard(one))


@given(st.sampled_from(list(SPOKEN)), st.floats(0.25, 0.6), st.booleans())
def test_much_that_is_missing_is_noticed(language: str, share: float, is_given: bool) -> None:
    said = " ".join(SPOKEN[language])
    part = said[: int(share * len(said))]
    given_text, heard_text = (part, said) if is_given else (said, part)
    assert is_other_text(given_text, heard(heard_text, language))


@given(st.sampled_from(ALPHABETIC), st.data())
def test_a_quarter_of_the_letters_misheard_is_forgiven(language: str, data: st.DataObject) -> None:
    said = SPOKEN[language][0]
    positions = data.draw(st.lists(st.integers(0, len(said) - 1), max_size=len(said) // 4))
    misheard = "".join("x" if place in positions else letter for place, letter in enumerate(said))
    assert not is_other_text(said, heard(misheard, language))


def test_the_longest_transcripts_are_compared_at_once() -> None:
    said, other = (text * 30 for text in SPOKEN["Korean"])
    assert is_other_text(other, heard(said, "Korean"))
