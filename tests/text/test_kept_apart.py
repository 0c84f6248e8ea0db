# ruff: noqa: RUF001 - digits of other scripts
"""What is removed leaves a space where letters or digits would merge, and comparisons stay."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.text.typed import heard


@pytest.mark.parametrize(
    ("typed", "spoken"),
    [
        # pictures
        ("this👏is👏important", "this is important"),
        ("gg🎉see you", "gg see you"),
        ("no❌yes", "no yes"),
        ("12🕐30", "12 30"),
        ("10★20", "10 20"),
        ("1️⃣2️⃣3️⃣ go", "1 2 3 go"),
        ("12🕐.30", "12 .30"),
        ("mañana🌞será", "mañana será"),
        ("हाँ🙏जी", "हाँ जी"),
        ("a\U0001faceb", "a b"),  # newer than this Python
        ("a\ue000b", "a b"),
        ("nice🎉!", "nice!"),
        ("fine 👍, thanks", "fine, thanks"),
        ("hello,👋world", "hello, world"),
        ("(🎉yes)", "(yes)"),
        ("all *.deb and (*.c, *.h)", "all .deb and (.c, .h)"),
        ("50%🔥off", "50% off"),
        ("[5]🎉yes", "[5] yes"),
        # marks
        ("5**2", "5 2"),
        ("10|20|30", "10 20 30"),
        ("yes|no", "yes no"),
        ("~~5~~10", "5 10"),
        ("`5`10", "5 10"),
        ("__1__2", "1 2"),
        ("||5||10", "spoiler 10"),
        (r"C:\new\folder", "C: new folder"),
        (r"a\b\c", "a b c"),
        ("List<String>", "List String"),
        ("Map<int,List<int>>", "Map int,List int"),
        ("**one**two", "one two"),
        ("**H**yper *t*ext ***M***arkup", "Hyper text Markup"),
        ("a*b*c **5**th", "a b c 5 th"),
        ("[5](https://example.com)10", "5 10"),
        # an escaped mark is shown as it is
        (r"it\'s 1\.5", "it's 1.5"),
        # control tokens
        ("5<|x|>10", "5 10"),
        ("5<think>10", "5 10"),
        # names
        ("5<@1>10", "5 Ada 10"),
        ('<@1>\'s, "<@1>"', 'Ada\'s, "Ada"'),
    ],
)
def test_what_is_removed_leaves_a_space(typed: str, spoken: str) -> None:
    assert heard(typed) == spoken


@pytest.mark.parametrize(
    "comparison",
    [
        "score >= 5",
        "battery <30%",
        "only >18 allowed",
        "wait <3 min",
        "wait <3min",
        "in <3 Stunden",
        "<3.5 kg",
        "p<0.05",
        "x<3",
        "level <3",
        "ping < 50",
        "1 < x",
        "5 > three",
        "0 <= x <= 10",
        "<= -5 °C",
        ">$20",
        "x >= y",
        "x < y",
        "x<-5",
        "٣<٥",
        "५ > ३",
    ],
)
def test_a_comparison_stays(comparison: str) -> None:
    assert heard(comparison) == comparison


def test_a_comparison_becomes_no_tag() -> None:
    assert heard("3<x<5") == "3< x<5"
    assert heard("5<tts_pad 5>") == "5< tts pad 5"
    assert heard("a<b and c>d") == "a < b and c > d"
    assert heard("x =<5") == "x <=5"


@pytest.mark.parametrize(
    ("typed", "spoken"),
    [
        ("I <3 you", "I you"),
        ("thanks <3", "thanks"),
        ("ok <33 bye", "ok bye"),
        ("we <3 people", "we people"),
        ("> 5 apples", "5 apples"),
        ("<b>5</b>6<br/>", "b 5 b 6 br"),
        ("a -> 5, b => 6", "a 5, b 6"),
        ("5->10 <-- no <-> 1", "5 10 no 1"),
        ("5 <- here", "5 here"),
        ("</3 why", "why"),
        ("<5> <パス2>へ", "5 パス2 へ"),
        ("List<u8>", "List u8"),
        ("il separatore è <a capo>", "il separatore è a capo"),
        (">_< no", "no"),
    ],
)
def test_hearts_quotes_tags_and_arrows_are_no_comparisons(typed: str, spoken: str) -> None:
    assert heard(typed) == spoken


_REMOVED = """
👏 ❌ ★ 🕐 👍🏽 ❤️ 🇩🇪 ** ~~ | < > <|x|> <think> </tts> _ \\ \ufffc \ue000 \U0001face [pause] ` ***
<t:9999999999999>
"""
REMOVED = st.sampled_from([*_REMOVED.split(), " 👏", "👏 ", "👩\u200d👩\u200d👧"])
# No single letter: a bold one is the initial of the word behind it.
TOKENS = st.sampled_from(["1", "12", "30", "007", "at", "word", "Ünï", "дом", "5x", "3.5"])


@settings(deadline=None)
@given(
    st.lists(st.tuples(TOKENS, st.lists(REMOVED, min_size=1, max_size=3)), min_size=1, max_size=8)
)
def test_letters_and_digits_never_merge(pairs: list[tuple[str, list[str]]]) -> None:
    typed = "".join(token + "".join(removed) for token, removed in pairs)
    # No spoilers, and no blocks of code.
    typed = re.sub(r"\|(?=\|)", "|👏", typed)
    typed = re.sub(r"`(?=``)", "`👏", typed)
    assert re.findall(r"[\w.]+", heard(typed)) == [token for token, _ in pairs]


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(["12", "5", ".", ",", ":", "-", "(", "'"])
        | REMOVED.filter(lambda mark: mark != "\\"),  # which joins: "12\\.5" is shown as 12.5
        max_size=12,
    )
)
def test_numbers_never_merge_across_what_is_removed(parts: list[str]) -> None:
    marked = "".join(parts)
    kept = re.findall(r"\d+(?:[.,:]\d+)*", heard(marked))
    # Every number that is heard was typed as it is, with nothing removed in it.
    assert all(
        number in "".join(part if part[0] in "0123456789.,:" else " " for part in parts)
        for number in kept
    )
