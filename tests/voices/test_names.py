from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import Reason, Refusal
from bot.voices.names import MAX_NAME_CHARACTERS, clean_voice_name, lookup_key, name_key
from tests.support.refusals import refused


@pytest.mark.parametrize(
    "name",
    [
        "Grandma",
        "Élodie à la radio",
        "محمد",
        "おばあちゃん",
        "हिन्दी",
        "robot 🤖",
        "👩‍🚀",
        "👨‍👩‍👧‍👦",
        "❤️‍🔥",
        "👩🏽‍⚕️",
        "1️⃣",
        "\U0001fae9",  # a face that Unicode 16 brought, after Python 3.11
        "%_*`~|",
        "x" * 32,
    ],
)
def test_ordinary_names_are_kept_as_typed(name: str) -> None:
    assert clean_voice_name(f"  {name} \n") == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", Reason.NAME_EMPTY),
        (" \t\n\u3000", Reason.NAME_EMPTY),
        ("x" * 33, Reason.NAME_TOO_LONG),
        ("two\nlines", Reason.NAME_HIDES_CHARACTERS),
        ("two\u2028lines", Reason.NAME_HIDES_CHARACTERS),
        ("tab\tbed", Reason.NAME_HIDES_CHARACTERS),
        ("nul\0l", Reason.NAME_HIDES_CHARACTERS),
        ("\u202eesrever", Reason.NAME_HIDES_CHARACTERS),
        ("\u2066isolated\u2069", Reason.NAME_HIDES_CHARACTERS),
        ("zero\u200bwidth", Reason.NAME_HIDES_CHARACTERS),
        ("joined\u200dletters", Reason.NAME_HIDES_CHARACTERS),
        ("🤖\u200d", Reason.NAME_HIDES_CHARACTERS),
        ("bom\ufeff", Reason.NAME_HIDES_CHARACTERS),
        ("soft\u00adhyphen", Reason.NAME_HIDES_CHARACTERS),
        ("half\ud800", Reason.NAME_HIDES_CHARACTERS),
        ("\u3164", Reason.NAME_HIDES_CHARACTERS),
        ("\u2800", Reason.NAME_HIDES_CHARACTERS),
        ("\u0301", Reason.NAME_INVISIBLE),
        ("\ufe0f", Reason.NAME_INVISIBLE),
    ],
)
def test_names_that_would_mislead_are_refused(name: str, reason: Reason) -> None:
    values = {"limit": 32} if reason is Reason.NAME_TOO_LONG else {}
    with refused(reason, **values):
        clean_voice_name(name)


@pytest.mark.parametrize(
    "same",
    [
        ("Straße", "STRASSE", "strasse", "Strasse"),
        ("İpek", "i\u0307pek", "İPEK"),
        ("\uff22\uff45\uff4e", "ben", "BEN", "ⓑⓔⓝ"),  # full width, as Japanese keyboards type it
        ("ﬁsh", "fish", "FISH"),
        ("Ana  Maria", "ana maria", "ANA\u00a0MARIA", "Ana\u3000Maria", " ana maria "),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ", "σίσυφοσ"),
        ("é", "e\u0301", "É"),
    ],
)
def test_names_that_read_the_same_are_the_same(same: tuple[str, ...]) -> None:
    assert len({name_key(name) for name in same}) == 1


@pytest.mark.parametrize(("one", "other"), [("Ana", "Anna"), ("e", "é"), ("a b", "ab"), ("1", "2")])
def test_other_names_are_others(one: str, other: str) -> None:
    assert name_key(one) != name_key(other)


def test_every_character_in_either_case_is_the_same_name() -> None:
    typeable = (
        chr(number)
        for number in range(sys.maxunicode + 1)
        if unicodedata.category(chr(number))[0] not in "CZ"
    )
    apart = [c for c in typeable if not name_key(c) == name_key(c.upper()) == name_key(c.lower())]

    assert apart == [
        "\N{LATIN SMALL LETTER DOTLESS I}"
    ]  # its capital is the I that all other languages pair with i


@given(st.text(max_size=60))
def test_whatever_is_typed_is_a_name_or_a_refusal_and_never_an_error(typed: str) -> None:
    try:
        name = clean_voice_name(typed)
    except Refusal:
        return
    assert 1 <= len(name) <= MAX_NAME_CHARACTERS
    assert name in typed
    assert name.isprintable() or not name.isascii()
    assert clean_voice_name(name) == name
    assert lookup_key(typed) == name_key(name) != ""
    assert name_key(name_key(name)) == name_key(name)


def test_nothing_can_be_looked_up_that_no_voice_is_called() -> None:
    assert lookup_key("half\ud800") is None
    assert lookup_key("nul\0l") is None
