"""What is repeated endlessly is said five times."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.text import MAX_TEXT_CHARACTERS
from tests.text.typed import heard


@pytest.mark.parametrize(
    ("typed", "spoken"),
    [
        ("a" * 200, "aaaaa"),
        ("nooooo!!!!!!!!!!", "nooooo!!!!!"),
        ("ha" * 2_500, "ha" * 5),
        ("lol" * 40, "lol" * 5),
        ("RaRaRaRaRaRaRa", "RaRaRaRaRa"),
        ("HaHAhahAHAha", "HaHAhahAHA"),
        ("haha haha", "haha haha"),
        ("哈喽" * 30, "哈喽" * 5),
        ("<:pepe:1>" * 6, " ".join(["pepe"] * 5)),
        ("<:big_smile:1> " * 6, " ".join(["big smile"] * 5)),
        ("no no no no no no no!", "no no no no no!"),
        ("No, no, NO, no, no, no, no.", "No, no, NO, no, no."),
        ("you are great, " * 50, " ".join(["you are great,"] * 5)),
        ("spam\n" * 40, "spam. spam. spam. spam. spam"),
        ("spam\n\n" * 40, "\n\n".join(["spam"] * 5)),
        ("<a:a_b_c_d_e_f_g:1>\n" * 6, " ".join(["a b c d e f g"] * 5)),
        # whole sentences are said
        ("Go on. Go on. " * 20, "Go on. Go on. " * 19 + "Go on. Go on."),
        # five times are said, and so are numbers
        ("ha" * 5, "ha" * 5),
        ("no no no no no", "no no no no no"),
        ("1000000000", "1000000000"),
        ("121212121212", "121212121212"),
        ("1.1.1.1.1.1.1", "1.1.1.1.1.1.1"),
        ("0 0 0 0 0 0 0", "0 0 0 0 0 0 0"),
    ],
)
def test_endless_repetition_is_cut_short(typed: str, spoken: str) -> None:
    assert heard(typed) == spoken


UNITS = st.text("abcdeäß你", min_size=1, max_size=8) | st.lists(
    st.sampled_from(["so", "very", "no,", "<:pepe:1>", "你好"]), min_size=1, max_size=4
).map(lambda words: " ".join(words) + " ")


@settings(deadline=None, max_examples=60)
@given(UNITS, st.integers(6, 400), st.sampled_from(["", "end", " end", "!", "\n\nand more"]))
def test_the_length_does_not_depend_on_how_often_it_is_repeated(
    unit: str, times: int, ending: str
) -> None:
    typed = (unit * times)[: MAX_TEXT_CHARACTERS - 20] + ending
    assert len(heard(typed)) <= len(heard(unit * 7 + ending)) + len(unit) + len(ending) + 12
