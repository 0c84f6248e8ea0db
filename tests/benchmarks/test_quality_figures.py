"""The arithmetic of the quality benchmark: words, intervals, settings and the report."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torchaudio
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.speech_quality.bootstrap import (
    Estimate,
    Measurement,
    estimate,
    estimate_change,
    estimate_share,
)
from benchmarks.speech_quality.errors import CannotMeasureError
from benchmarks.speech_quality.report import compare_runs, describe_judge, summary
from benchmarks.speech_quality.saved_runs import Run, read_run, write_run
from benchmarks.speech_quality.sentences import SENTENCES, read_sentences
from benchmarks.speech_quality.settings import read_setting
from benchmarks.speech_quality.speaker_encoder import mel_filters
from benchmarks.speech_quality.verdicts import Verdict, Voice
from benchmarks.speech_quality.words import (
    count_syllables,
    count_word_errors,
    echoes,
    leading_words,
    split_words,
)

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "The old bridge was painted green."
SAID_BEFORE = "We walked home in the evening, and nobody at all saw the brown dog."


@pytest.mark.parametrize(
    ("heard", "errors"),
    [
        (TEXT, 0),
        ("the old bridge was PAINTED green", 0),
        ("The old fridge was painted green.", 1),
        ("The bridge was painted green.", 1),
        ("The old, old bridge was painted green.", 1),
        ("Thank you.", 6),
        ("", 6),
    ],
)
def test_word_errors_are_counted_without_case_and_punctuation(heard: str, errors: int) -> None:
    assert count_word_errors(TEXT, heard) == errors


def test_apostrophes_of_both_shapes_belong_to_words() -> None:
    assert split_words("Don\N{RIGHT SINGLE QUOTATION MARK}t, she said") == ["don't", "she", "said"]
    assert split_words("Don't! 'She' said -") == ["don't", "she", "said"]


def test_words_of_scripts_without_spaces_are_letters() -> None:
    assert split_words("你好。世界 ok") == ["你", "好", "世", "界", "ok"]
    assert count_word_errors("你好世界", "你们世界。") == 1


@pytest.mark.parametrize(
    ("text", "syllables"),
    [
        ("a dog", 2),
        ("butterfly", 3),
        ("Größe", 2),
        ("hmm", 1),
        ("日本", 2),
        ("молоко", 3),
        ("...", 0),
    ],
)
def test_syllables_are_groups_of_vowels(text: str, syllables: int) -> None:
    assert count_syllables(text) == syllables


@pytest.mark.parametrize(
    ("heard", "leading"),
    [
        (TEXT, []),
        (f"Brown dog. {TEXT}", ["brown", "dog"]),
        (f"The end. {TEXT}", ["the", "end"]),
        ("A old bridge was painted green.", []),  # one word is wrong, and none is too many
        ("The old bridge was painted green. Brown dog.", []),
    ],
)
def test_words_before_the_text_are_found(heard: str, leading: list[str]) -> None:
    assert leading_words(TEXT, heard) == leading


@pytest.mark.parametrize(
    ("heard", "is_echo"),
    [
        (TEXT, False),
        (f"brown dog {TEXT}", True),
        (f"saw the brown, dog. {TEXT}", True),
        (f"the {TEXT}", False),
        (f"Well, you know, {TEXT}", False),
        (f"We walked. {TEXT}", False),  # the reference's beginning is no echo of its end
    ],
)
def test_an_echo_is_the_references_end_before_the_text(heard: str, *, is_echo: bool) -> None:
    assert echoes(TEXT, heard, SAID_BEFORE) is is_echo


def crossed(seed: int, shift: float = 0.0) -> list[Measurement]:
    """Measurements with an effect of the voice, one of the sentence, and noise; 0 is the truth."""
    draw = np.random.default_rng(seed)
    of_voice, of_sentence = draw.normal(0, 1, 6), draw.normal(0, 1, 12)
    return [
        Measurement(f"v{voice}", f"s{number}", high + low + draw.normal(0, 0.1) + shift)
        for voice, high in enumerate(of_voice)
        for number, low in enumerate(of_sentence)
    ]


def test_a_figure_is_a_ratio_of_sums() -> None:
    measurements = [Measurement("v", "short", 1, 2), Measurement("v", "long", 0, 8)]
    found = estimate(measurements)
    assert found.value == 0.1
    assert (found.low, found.high) == (0.0, 0.5)


def test_the_same_measurements_give_the_same_interval() -> None:
    assert estimate(crossed(1)) == estimate(crossed(1))


def test_the_interval_is_wider_where_all_speeches_of_a_voice_differ_from_the_next() -> None:
    grid = [(voice, number) for voice in range(6) for number in range(12)]
    by_voice = [Measurement(f"v{v}", f"s{n}", (-1) ** v) for v, n in grid]
    unrelated = [Measurement(f"v{v}", f"s{n}", (-1) ** (v + n)) for v, n in grid]
    wide, narrow = estimate(by_voice), estimate(unrelated)
    assert wide.value == narrow.value == 0
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    held = [found.low <= 0 <= found.high for found in map(estimate, map(crossed, range(30)))]
    assert np.mean(held) >= 0.8


def test_pairing_shows_a_change_that_is_smaller_than_the_spread() -> None:
    before, after = crossed(3), crossed(3, shift=0.05)
    change = estimate_change(before, after)
    assert change.value == pytest.approx(0.05)
    assert change.is_clear
    assert estimate(before).high > estimate(after).low


def test_no_change_is_not_clear() -> None:
    assert estimate_change(crossed(3), crossed(3)) == Estimate(0.0, 0.0, 0.0)
    assert not estimate_change(crossed(3), crossed(3)).is_clear


def test_only_the_same_speeches_are_paired() -> None:
    with pytest.raises(ValueError, match="same speeches"):
        estimate_change(crossed(1), crossed(1)[::-1])
    with pytest.raises(ValueError, match="zip"):
        estimate_change(crossed(1), crossed(1)[:-1])


def test_what_never_happened_may_still_happen() -> None:
    never = [Measurement("v", f"s{number}", 0) for number in range(60)]
    assert estimate_share(never) == Estimate(0.0, 0.0, 0.05)
    once = [*never, Measurement("v", "s", 1)]
    assert estimate_share(once) == estimate(once)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12))
def test_a_figure_is_known_if_there_is_anything_to_divide_by(pairs: list[tuple[int, int]]) -> None:
    measurements = [
        Measurement(f"v{number % 3}", f"s{number // 3}", amount, of)
        for number, (amount, of) in enumerate(pairs)
    ]
    found = estimate(measurements)
    amounts, of = sum(amount for amount, _ in pairs), sum(of for _, of in pairs)
    if of == 0:
        assert np.isnan([found.value, found.low, found.high]).all()
    else:
        assert found.value == pytest.approx(amounts / of)
        assert found.low <= found.high


def verdict(number: int, **changes: object) -> Verdict:
    usual = Verdict(
        voice=f"v{number % 2}",
        sentence=f"s{number // 2}",
        take=0,
        heard="yes",
        words=10,
        word_errors=1,
        similarity=0.8,
        rate=1.0,
        seconds=4.0,
        expected=5.0,
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def test_a_report_compares_two_runs_line_by_line() -> None:
    a = Run("preview", [verdict(number) for number in range(12)])
    b = Run(
        "preview clip=raw",
        [verdict(number, word_errors=2, similarity=0.7, echo=number == 0) for number in range(12)],
    )
    report = compare_runs(a, b)
    figures = report["figures"]
    assert figures["word_error_rate"]["change"]["value"] == pytest.approx(0.1)
    assert figures["similarity"]["change"]["value"] == pytest.approx(-0.1)
    assert figures["similarity"]["clear"]
    assert figures["length"]["a"]["value"] == pytest.approx(0.8)
    assert figures["echoes"]["b"]["value"] == pytest.approx(1 / 12)
    assert not figures["echoes"]["clear"]
    shown = summary(report)
    assert "a: preview\nb: preview clip=raw\n12 speeches: 6 sentences in 2 voices" in shown
    assert "+10.0 %" in shown
    assert "-0.100" in shown


def test_a_line_without_speech_counts_as_a_failure_and_in_nothing_else() -> None:
    a = Run("a", [verdict(number) for number in range(12)])
    failed = verdict(0, problem="SpeechRunsOnError", runaway=True, words=0, similarity=0.0)
    b = Run("b", [failed, *(verdict(number) for number in range(1, 12))])
    figures = compare_runs(a, b)["figures"]
    assert figures["failures"]["b"]["value"] == pytest.approx(1 / 12)
    assert figures["runaways"]["b"]["value"] == pytest.approx(1 / 12)
    assert figures["similarity"]["b"]["value"] == pytest.approx(0.8)
    assert figures["word_error_rate"]["change"]["value"] == 0


def test_a_run_in_which_nothing_was_said_is_reported() -> None:
    silent = Run("b", [verdict(number, problem="GenerationFailedError") for number in range(4)])
    for runs in ((silent, None), (Run("a", [verdict(number) for number in range(4)]), silent)):
        report = compare_runs(*runs)
        assert report["figures"]["similarity"] == {}
        row = next(line for line in summary(report).splitlines() if "similarity" in line)
        assert row.count("no speech") == (1 if runs[1] is None else 4)
        assert "100.0 %" in summary(report)


def test_runs_are_kept_and_only_their_common_lines_are_compared(tmp_path: Path) -> None:
    a = Run("modal", [verdict(number) for number in range(8)])
    write_run(a, tmp_path / "first" / "a.json")
    kept = read_run(tmp_path / "first" / "a.json")
    assert kept == a
    report = compare_runs(kept, Run("modal", [verdict(number) for number in range(4, 12)]))
    assert report["lines"] == 4
    with pytest.raises(CannotMeasureError, match="no speech in common"):
        compare_runs(a, Run("modal", [verdict(20)]))
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(CannotMeasureError, match=r"other\.json is no saved run"):
        read_run(tmp_path / "other.json")


def voice(key: str, direction: int, errors: int | None) -> Voice:
    embedding = np.eye(4, dtype=np.float32)[direction]
    return Voice(key, "one two", 4.0, 3.0, embedding, halves=0.9, words=10, word_errors=errors)


def test_the_judge_is_described_by_what_it_finds_in_the_references() -> None:
    found = describe_judge([voice("a", 0, 1), voice("b", 1, None), voice("c", 0, 2)])
    assert found["word_error_rate"] == pytest.approx(3 / 20)
    assert found["halves"] == pytest.approx(0.9)
    assert found["others"] == pytest.approx(1 / 3)
    assert describe_judge([voice("a", 0, None)])["others"] is None


def test_settings_are_read_from_words() -> None:
    setting = read_setting(["local", "clip=raw", "weights=float32", "engine=reference"])
    assert setting.ours == {"clip": "raw"}
    assert setting.bots == {"weights": "float32", "engine": "reference"}
    assert str(setting) == "local clip=raw weights=float32 engine=reference"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("piper", "no backend"),
        ("preview raw", "name=value"),
        ("preview clip=", "name=value"),
        ("preview clip=cooked", "prepared or raw, not cooked"),
        ("preview clip=raw clip=raw", "set twice"),
        ("preview weights=float32", "no setting weights"),
        ("modal watermark=off", "no setting watermark"),
        ("local speed=2", "no setting speed"),
    ],
)
def test_a_setting_that_changes_nothing_is_refused(words: str, problem: str) -> None:
    with pytest.raises(CannotMeasureError, match=problem):
        read_setting(words.split())


def test_sentences_are_different_and_fit_in_a_request(tmp_path: Path) -> None:
    file = tmp_path / "ours.txt"
    file.write_text("\n".join([*SENTENCES, "", SENTENCES[0], "..."]), encoding="utf-8")
    assert read_sentences(file) == SENTENCES
    assert not any(character.isdigit() for sentence in SENTENCES for character in sentence)
    file.write_text("\n...\n", encoding="utf-8")
    with pytest.raises(CannotMeasureError, match="no sentences"):
        read_sentences(file)
    file.write_text("word " * 200, encoding="utf-8")
    with pytest.raises(CannotMeasureError, match="at most 600"):
        read_sentences(file)


def test_mel_bands_are_slaneys() -> None:
    theirs = torchaudio.functional.melscale_fbanks(
        201, 0.0, 8_000.0, 40, 16_000, norm="slaney", mel_scale="slaney"
    )
    np.testing.assert_allclose(mel_filters(), theirs.numpy().T, atol=1e-6)
