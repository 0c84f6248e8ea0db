from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract import (
    LANGUAGES,
    MAX_SPOKEN_CHARACTERS,
    LanguageNotSupportedError,
    SpeechRequest,
    TextNotSpeakableError,
    VoicePrompt,
)
from bot.speech.preview.text import PREVIEW_LANGUAGES, check_readable, for_piper


def check(text: str, language: str) -> None:
    check_readable(SpeechRequest(text, VoicePrompt(b"", ""), language))


@pytest.mark.parametrize(
    "text",
    [
        "Hello there.",
        "42",
        "Café déjà vu",
        "I had 寿司 in Tokyo",
        "\uff28\uff25\uff39",
        "\U0001d4d7\U0001d4f2",
        "ok 👍",
    ],
)
def test_english_with_a_few_other_characters_is_accepted(text: str) -> None:
    check(text, "Auto")
    check(text, "English")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("こんにちは世界", "Japanese"),
        ("東京都港区は広い", "Japanese"),
        ("ｺﾝﾆﾁﾊ", "Japanese"),
        ("안녕하세요", "Korean"),
        ("你好,世界", "Chinese"),
        ("Привет, мир", "Russian"),
        ("مرحبا", "Arabic"),
    ],
)
@pytest.mark.parametrize("option", PREVIEW_LANGUAGES)
def test_another_script_is_refused_by_its_language(text: str, language: str, option: str) -> None:
    with pytest.raises(LanguageNotSupportedError) as refusal:
        check(text, option)

    assert refusal.value.language == language
    assert refusal.value.supported == ("Auto", "English")


@pytest.mark.parametrize("language", [*LANGUAGES[3:], "Klingon", "english", ""])
def test_another_language_is_refused(language: str) -> None:
    with pytest.raises(LanguageNotSupportedError):
        check("Guten Tag", language)


@pytest.mark.parametrize("text", ["", "  ", "...", "👍🎉", "\u200b", "?!"])
def test_a_text_without_words_is_refused(text: str) -> None:
    with pytest.raises(TextNotSpeakableError):
        check(text, "English")


def test_length_is_limited_at_exactly_the_contracts_limit() -> None:
    check("a" * MAX_SPOKEN_CHARACTERS, "Auto")
    with pytest.raises(TextNotSpeakableError):
        check("a" * (MAX_SPOKEN_CHARACTERS + 1), "Auto")


@given(st.text(max_size=40))
def test_any_text_is_accepted_or_refused(text: str) -> None:
    with suppress(LanguageNotSupportedError, TextNotSpeakableError):
        check(text, "Auto")
        assert any(character.isalnum() for character in text)


@given(st.text("[h@ ]<=>5", max_size=30))
def test_piper_never_gets_phonemes_or_tags(text: str) -> None:
    got = for_piper(text)
    assert "[[" not in got
    assert not set("<>") & set(got)


@pytest.mark.parametrize(
    ("text", "for_voice"),
    [
        ("[[[h@]]] is text", "[h@]]] is text"),
        ("score >= 5", "score at least 5"),
        ("battery <30%", "battery less than 30%"),
        ("p<0.05", "p less than 0.05"),
        ("x > 3 and y <= 4", "x more than 3 and y at most 4"),
    ],
)
def test_what_piper_would_leave_out_is_put_into_words(text: str, for_voice: str) -> None:
    assert " ".join(for_piper(text).split()) == for_voice
