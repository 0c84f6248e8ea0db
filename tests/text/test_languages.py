# ruff: noqa: RUF001 - people type in many scripts
"""Which language a text is in is only said where it is sure."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.text import guess_language


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("English", "can you mute your mic please"),
        ("English", "Good morning everyone, I ate a croissant in 寿司 bar"),
        ("German", "Am 24. Dezember feiern wir Weihnachten."),
        ("German", "kann jemand mal den Ton leiser machen"),
        ("French", "J'habite au 5 av. Victor Hugo à Paris."),
        ("Spanish", "¿alguien puede bajar el volumen por favor?"),
        ("Italian", "qualcuno può abbassare il volume per favore"),
        ("Portuguese", "alguém pode abaixar o volume por favor"),
        ("Russian", "ты придёшь играть сегодня вечером?"),
        ("Ukrainian", "ти прийдеш грати сьогодні ввечері?"),
        ("Polish", "przyjdziesz dziś wieczorem pograć z nami?"),
        ("Turkish", "bu akşam bizimle oynayacak mısın?"),
        # one language, or nearly one, is written in these scripts
        ("Japanese", "東京に行きました"),
        ("Japanese", "カラオケ"),
        ("Chinese", "今天天气很好！"),
        ("Korean", "안녕하세요"),
        ("Arabic", "مرحبا"),
        ("Persian", "آیا امشب با ما بازی می‌کنید؟ خیلی خوش می‌گذرد."),
        ("Hindi", "नमस्ते"),
        ("Hebrew", "שלום"),
        ("Thai", "สวัสดี"),
        ("Greek", "γεια"),
        ("Georgian", "გამარჯობა"),
        ("Hindi", "हे"),
        ("Amharic", "ሰላም"),
        ("Burmese", "မင်္ဂလာပါ"),
        ("Chinese", "我"),
        ("Japanese", "時々サーバー"),
        ("Swahili", "Habari za asubuhi, ninafurahi sana kukuona leo hapa nyumbani kwetu."),
    ],
)
def test_a_language_is_told(language: str, text: str) -> None:
    assert guess_language(text) == language


@pytest.mark.parametrize(
    "text",
    [
        "", "   ", "123", "...", "👍🎉", "hi", "ok lol", "haha lol xD rofl", "am 24. Dezember",
        "5 av. Victor Hugo", "ASP.NET Core", "Cristiano Ronaldo Lionel Messi", "Indonesian",
        "asdf qwer zxcv uiop", "привет", "hello мир",
        # letters that are symbols, faces or decoration, and Japanese in Latin letters
        "π ≈ 3.14", "5 Ω", "2ª", "5 µ", "x = λ", "ಠ ಠ", "ᕼᗴᒪᒪO", "watashi wa neko desu",
        "hajimemashite watashi no namae wa Anna desu",
    ],
)  # fmt: skip
def test_it_is_not_guessed_from_little(text: str) -> None:
    assert guess_language(text) is None


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_has_a_language_or_none(text: str) -> None:
    guessed = guess_language(text)
    assert guessed is None or guessed[0].isupper()
    assert guess_language(text) == guessed
