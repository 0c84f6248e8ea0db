# ruff: noqa: RUF001 - people type in many scripts
"""Decorated alphabets are read as their plain letters."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.text.typed import heard


def shifted(capitals: int, small: int | None = None) -> dict[int, str]:
    """An alphabet from its first capital and its first small letter."""
    alphabet = {ord("A") + n: chr(capitals + n) for n in range(26)}
    start = ord("A") if small is None else ord("a")
    return alphabet | {start + n: chr((small or capitals) + n) for n in range(26)}


ALPHABETS = {
    "circled": shifted(0x24B6, 0x24D0),
    "in black circles": shifted(0x1F150),
    "squared": shifted(0x1F130),
    "in black squares": shifted(0x1F170),
    "in brackets": shifted(0x1F110),
    "in brackets, small": {ord("a") + n: chr(0x249C + n) for n in range(26)},
    "wide": shifted(0xFF21, 0xFF41),
    "bold": shifted(0x1D400, 0x1D41A),
    "bold script": shifted(0x1D4D0, 0x1D4EA),
    "bold fraktur": shifted(0x1D56C, 0x1D586),
    "monospace": shifted(0x1D670, 0x1D68A),
    "small capitals": str.maketrans(string.ascii_lowercase, "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡxʏᴢ"),
    "raised": str.maketrans("abcdefghijklmnoprstuvwxyz", "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ"),
}


@pytest.mark.parametrize("alphabet", ALPHABETS.values(), ids=ALPHABETS.keys())
@settings(deadline=None, max_examples=20)
@given(words=st.lists(st.text("abdeghiklmnorstuv", min_size=2, max_size=8), min_size=1, max_size=4))
def test_a_decorated_text_is_read_like_a_plain_one(
    alphabet: dict[int, str], words: list[str]
) -> None:
    plain = " ".join(words)
    for typed in (plain, plain.upper()):
        assert heard(typed.translate(alphabet)).lower() == heard(plain)


@pytest.mark.parametrize(
    ("typed", "spoken"),
    [
        ("ⓗⓔⓛⓛⓞ 🅷🅴🅻🅻🅾 𝒽ℯ𝓁𝓁ℴ ʜᴇʟʟᴏ ʰᵉˡˡᵒ", "hello HELLO hello hello hello"),
        ("ℋ𝒶𝓇𝓇𝓎 ℙ𝕠𝕥𝕥𝕖𝕣", "Harry Potter"),
        ("ғᴏx ǫᴜᴇᴇɴ", "fox queen"),
        ("h̶e̶l̶l̶o̶ w̲o̲r̲l̲d̲", "hello world"),
        ("h̴̢e̵l̶l̷o̸ H͓̽e͓̽l͓̽l͓̽o͓̽ h҉e҉l҉l҉o҉ h⃝e⃝l⃝l⃝o⃝", "hello Hello hello hello"),
        ("ẹ́ ë́ naïve", "ẹ́ ë́ naïve"),
        ("ﬁne ﬂow ＡＢＣ Ⅷ", "fine flow ABC VIII"),
        # regional letters are letters, unless they are shown as flags
        ("🇭🇪🇱🇱🇴", "HELLO"),
        ("🇭 🇪 🇱 🇱 🇴   🇼 🇴 🇷 🇱 🇩", "HELLO WORLD"),
        ("🇭\u200b🇮", "HI"),
        ("🇦 pizza, 🇧 pasta", "A pizza, B pasta"),
        ("🇬🇬 🇼🇵", "GG WP"),
        ("go 🇩🇪🇫🇷 🇮🇹!", "go!"),
        ("🇬🇧vs🇺🇸", "vs"),
        # numbers in circles are numbers of their own
        ("①②③ ⑩ ❶❷ ⓪ ⑴⒉", "1 2 3 10 1 2 0 1 2"),
        ("𝟏𝟐 ＋ ３４", "12 ＋ 34"),
        # what would be wrong in plain letters stays
        ("x² 10³ H₂O xⁿ ½ ™ № ℃ ㎏ 1º 2ª", "x² 10³ H₂O xⁿ ½ ™ № ℃ ㎏ 1º 2ª"),
        ("1ˢᵗ 2ⁿᵈ Mᵐᵉ", "1st 2nd Mme"),
        ("ғ ǫ ㅋㅋㅋ", "ғ ǫ ㅋㅋㅋ"),
        ("ℹ️ note ㊗️ ㊙", "note"),
        # words and numbers in a square
        ("🆗 A 🆚 B 🆒🆕 🆎 🆘", "OK A VS B COOL NEW AB SOS"),
        ("5🔟/10 🆗ay", "5 10 /10 OK ay"),
    ],
)  # fmt: skip
def test_letters_as_people_decorate_them(typed: str, spoken: str) -> None:
    assert heard(typed) == spoken
