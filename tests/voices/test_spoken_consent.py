"""A sentence to read aloud, and what counts as having read it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract import AUTO_LANGUAGE, LANGUAGES, Heard
from bot.errors import Reason
from bot.voices.spoken_consent import (
    MOST_WAITING,
    SECONDS_TO_READ,
    WORDS_DRAWN,
    ConsentSentence,
    SpokenConsents,
    _forms,
    check_heard,
    is_heard,
    new_sentence,
)
from tests.support.refusals import refused

SPOKEN = [language for language in LANGUAGES if language != AUTO_LANGUAGE]


@pytest.mark.parametrize("language", SPOKEN)
def test_each_language_has_its_sentence_which_is_heard_however_it_is_written(language: str) -> None:
    sentence = new_sentence(language)
    assert sentence.language == language
    assert len(set(sentence.words)) == WORDS_DRAWN
    assert all(word in sentence.text for word in sentence.words)
    assert is_heard(sentence, sentence.text)
    assert is_heard(sentence, f"Um, {sentence.text.upper().replace(',', ' ')} That's it!")


@pytest.mark.parametrize("language", SPOKEN)
def test_another_sentence_is_not_it(language: str) -> None:
    """It has the same beginning, which somebody may have recorded earlier."""
    sentence, earlier = new_sentence(language), new_sentence(language)
    while set(sentence.words) & set(earlier.words):
        earlier = new_sentence(language)
    assert not is_heard(sentence, earlier.text)
    assert not is_heard(sentence, "")


def test_some_mistakes_of_a_transcriber_are_forgiven() -> None:
    sentence = new_sentence("English")
    one_wrong = sentence.text.replace(sentence.words[1], "hum")
    two_wrong = one_wrong.replace(sentence.words[3], "hum")
    assert is_heard(sentence, one_wrong.replace("allow this bot", "allowed this box"))
    assert not is_heard(sentence, two_wrong)


def test_the_words_alone_are_not_consent() -> None:
    sentence = new_sentence("English")
    assert not is_heard(sentence, " ".join(sentence.words))
    backwards = sentence.text
    for word, other in zip(sentence.words, reversed(sentence.words), strict=True):
        backwards = backwards.replace(word, f"<{other}>")
    assert not is_heard(sentence, backwards)


@pytest.mark.parametrize("language", SPOKEN)
def test_it_is_not_heard_behind_other_speech(language: str) -> None:
    """Somebody may read the sentence, and let the voice of somebody else follow."""
    sentence, others = new_sentence(language), new_sentence(language).text
    twice = f"{sentence.text[:8]}, {sentence.text}"
    check_heard(sentence, Heard(twice, language), 12.0)
    for heard in (f"{others} {sentence.text}", f"{sentence.text} {others}"):
        with refused(Reason.SENTENCE_NOT_ALONE, sentence=sentence.text):
            check_heard(sentence, Heard(heard, language), 12.0)
    with refused(Reason.SENTENCE_NOT_ALONE, sentence=sentence.text):
        check_heard(sentence, Heard(sentence.text, language), 25.0)


def test_chinese_is_heard_in_either_script() -> None:
    words = ("苹果", "面包", "学校", "台灯")
    sentence = ConsentSentence(_forms()["Chinese"]["sentence"].format(*words), words, "Chinese")
    heard = "我允許這個機器人用我的聲音說話。今天的詞語是蘋果、麵包、學校和檯燈。"
    assert is_heard(sentence, heard)
    assert not is_heard(sentence, heard.replace("蘋果、麵包", "西瓜、汽車"))


@pytest.mark.parametrize("language", SPOKEN)
def test_each_word_is_told_from_the_others_and_from_the_sentence(language: str) -> None:
    form = _forms()[language]
    words, around = form["words"].split(), form["sentence"]
    assert len(set(words)) == len(words) >= 32
    for word in words:
        assert len(word) > 1, "in Chinese characters, one alone sounds like others"
        assert not any(word in other for other in (*words, around) if other != word)


@given(st.text(max_size=300))
def test_other_speech_is_never_it(text: str) -> None:
    assert not is_heard(new_sentence("English"), text)


def test_who_speaks_another_language_reads_english() -> None:
    assert new_sentence(AUTO_LANGUAGE).language == "English"


def test_a_sentence_is_good_for_one_voice_one_person_one_server_and_some_minutes() -> None:
    now = 0.0
    consents = SpokenConsents(clock=lambda: now)
    sentence = consents.give(1, 7, "English")
    assert consents.current(1, 7) == sentence
    assert consents.current(2, 7) is None
    assert consents.current(1, 8) is None
    now = SECONDS_TO_READ
    assert consents.current(1, 7) is None

    again = consents.give(1, 7, "English")
    assert consents.current(1, 7) == again
    with refused(Reason.SENTENCE_USED):
        consents.use(1, 7, sentence)
    consents.use(1, 7, again)
    assert consents.current(1, 7) is None
    with refused(Reason.SENTENCE_USED):
        consents.use(1, 7, again)


def test_those_that_wait_are_bounded() -> None:
    consents = SpokenConsents()
    first = consents.give(0, 7, "English")
    for number in range(1, MOST_WAITING):
        consents.give(number, 7, "English")
    assert consents.current(0, 7) == first
    consents.give(MOST_WAITING, 7, "English")
    assert consents.current(0, 7) is None
