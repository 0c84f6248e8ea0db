"""`[pause]` and `[pause 2s]` are silence."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.text import expected_seconds, split, typed_silence
from tests.text.typed import TYPED, heard

Spoken = list[tuple[float, str, float]]


def spoken(typed: str) -> Spoken:
    """Each sentence with the seconds of silence before and after it."""
    return [
        (round(sentence.silence_before, 2), sentence.text, round(sentence.silence_after, 2))
        for sentence in split(heard(typed), language="English")
    ]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("One. [pause] Two.", [(0, "One.", 1), (0, "Two.", 0)]),
        ("Well [pause 2s] yes", [(0, "Well.", 2), (0, "yes.", 0)]),
        ("Wait,[pause]go!", [(0, "Wait.", 1), (0, "go!", 0)]),
        ("[pause 1.5s] One [pause 0.5 s][PAUSE]", [(1.5, "One.", 1.5)]),
        ("One\n[pause 3]\nTwo", [(0, "One.", 3), (0, "Two.", 0)]),
        ("One.\n\n[pause 3 sec]\n\nTwo.", [(0, "One.", 3), (0, "Two.", 0)]),
        ("One\n[pause]... [pause]\nTwo", [(0, "One.", 2), (0, "Two.", 0)]),
        ("One [pause 300ms] two [pause: 2,5s]", [(0, "One.", 0.3), (0, "two.", 2.5)]),
        ("One [pause 99s] two [pause 9999]", [(0, "One.", 5), (0, "two.", 5)]),
        ("[pause 2 Sekunden] one [pause 2 сек.] two [pause 3秒]", [(2, "one.", 2), (0, "two.", 3)]),
        ("One [pause 1 min] two [pause 400 мс]", [(0, "One.", 5), (0, "two.", 0.4)]),
        ("12[pause]30", [(0, "12.", 1), (0, "30.", 0)]),
        # no pauses
        ("12[pause 0s]30", [(0, "12 30.", 0)]),
        ("[pause](https://example.com)", [(0, "pause.", 0)]),
        ("[pauses] [pause it] pause", [(0, "[pauses] [pause it] pause.", 0)]),
        ("[pause 2 of 3] yes", [(0, "[pause 2 of 3] yes.", 0)]),
        ("||[pause]|| yes", [(0, "spoiler yes.", 0)]),
        ("[pause]", []),
        ("[pause] ... [pause 2s]", []),
    ],
)
def test_a_typed_pause_is_silence(typed: str, expected: Spoken) -> None:
    assert spoken(typed) == expected


def test_silence_is_limited() -> None:
    typed = "".join(f"word {number} [pause 5s] " for number in range(100))
    assert typed_silence(split(heard(typed), language="English")) == pytest.approx(100)
    assert typed_silence(split(heard("a" + "[pause 5s]" * 100), language="English")) <= 100


@pytest.mark.parametrize(
    ("typed", "as_long_as"),
    [
        ("ha" * 2_500, "hahahahaha"),
        ("Look: https://example.com/" + "a" * 900, "Look: link to example.com"),
        ("||" + "a secret " * 99 + "||", "spoiler"),
        ("今天天气很好我们去公园吧", "jintian tianqi hen hao women qu gongyuan"),
        (
            "One. [pause 5s] Two.",
            "One. Two. And then she walked home alone through the quiet, cold and dark old town.",
        ),
    ],
)
def test_what_is_spoken_tells_how_long_it_takes(typed: str, as_long_as: str) -> None:
    one, other = (
        expected_seconds(split(heard(text), language="Auto")) for text in (typed, as_long_as)
    )
    assert one == pytest.approx(other, rel=0.2)


@settings(deadline=None)
@given(st.lists(TYPED | st.sampled_from(["[pause]", "[pause 5s]", "[pause 0.3]"]), max_size=30))
def test_silence_is_never_negative_or_endless(parts: list[str]) -> None:
    sentences = split(heard(" ".join(parts)), language="Auto")
    assert all(each.silence_before >= 0 and each.silence_after >= 0 for each in sentences)
    assert not any(each.silence_before for each in sentences[1:])
    assert typed_silence(sentences) <= 100.01
