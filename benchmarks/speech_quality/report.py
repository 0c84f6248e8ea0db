"""The figures of one setting, or of two and their difference: with intervals, as table and JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import table
from benchmarks.speech_quality.bootstrap import (
    Estimate,
    Measurement,
    estimate,
    estimate_change,
    estimate_share,
)
from benchmarks.speech_quality.errors import CannotMeasureError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.speech_quality.saved_runs import Run
    from benchmarks.speech_quality.verdicts import Verdict, Voice


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure, the sum of one number over all speeches divided by the sum of another.

    Attributes:
        key: Its name in JSON.
        name: Its name in the table.
        amount: The number that is added up.
        of: The number to divide by; None is a plain mean.
        is_share: Whether it is shown in per cent.
        needs_speech: Whether lines that failed are left out.
    """

    key: str
    name: str
    amount: Callable[[Verdict], float]
    of: Callable[[Verdict], float] | None = None
    is_share: bool = False
    needs_speech: bool = True

    def measurements(self, verdicts: Sequence[Verdict]) -> list[Measurement]:
        """Take the figure's numbers from what was found."""
        return [
            Measurement(
                verdict.voice,
                verdict.sentence,
                float(self.amount(verdict)),
                1.0 if self.of is None else float(self.of(verdict)),
            )
            for verdict in verdicts
        ]

    def show(self, value: float, *, signed: bool = False) -> str:
        """Format a value of this figure."""
        sign = "+" if signed else ""
        return f"{100 * value:{sign}.1f} %" if self.is_share else f"{value:{sign}.3f}"


FIGURES = (
    Figure(
        "word_error_rate",
        "word error rate",
        lambda verdict: verdict.word_errors,
        lambda verdict: verdict.words,
        is_share=True,
    ),
    Figure("similarity", "similarity to the reference", lambda verdict: verdict.similarity),
    Figure("speaking_rate", "speaking rate over the reference's", lambda verdict: verdict.rate),
    Figure(
        "length",
        "length over what is expected",
        lambda verdict: verdict.seconds,
        lambda verdict: verdict.expected,
    ),
    Figure("echoes", "echoes of the reference", lambda verdict: verdict.echo, is_share=True),
    Figure(
        "runaways",
        "runaways",
        lambda verdict: verdict.runaway,
        is_share=True,
        needs_speech=False,
    ),
    Figure(
        "failures",
        "no speech at all",
        lambda verdict: verdict.problem is not None,
        is_share=True,
        needs_speech=False,
    ),
)


def compare_runs(a: Run, b: Run | None) -> dict[str, Any]:
    """Compute every figure of one run, or of what two runs have in common.

    A figure that needs speech takes the lines that have speech in both.

    Returns "settings", "lines", and "figures": by name "a", and with two runs also "b", "change"
    (b less a) and "clear", whether the change's interval leaves out 0.

    Raises `CannotMeasureError` if two runs have no line in common.
    """
    pairs = _pairs(a, b)
    figures: dict[str, dict[str, Any]] = {}
    for figure in FIGURES:
        chosen = [
            pair
            for pair in pairs
            if not figure.needs_speech or all(verdict.problem is None for verdict in pair)
        ]
        figures[figure.key] = _figure(figure, chosen)
    return {
        "settings": {"a": a.setting} | ({} if b is None else {"b": b.setting}),
        "lines": len(pairs),
        "voices": len({pair[0].voice for pair in pairs}),
        "sentences": len({pair[0].sentence for pair in pairs}),
        "figures": figures,
    }


def describe_judge(voices: Sequence[Voice]) -> dict[str, float | None]:
    """Say what the judge finds in the references themselves, to compare the figures with.

    Returns "word_error_rate" (of Whisper, in the references with a given transcript), and the mean
    similarity of "halves" of one reference, and of "others": of different references.
    """
    texts = [voice for voice in voices if voice.word_errors is not None]
    words = sum(voice.words for voice in texts)
    others = [
        float(one.embedding @ other.embedding)
        for number, one in enumerate(voices)
        for other in voices[:number]
    ]
    return {
        "word_error_rate": sum(voice.word_errors or 0 for voice in texts) / words
        if words
        else None,
        "halves": fmean(voice.halves for voice in voices) if voices else None,
        "others": fmean(others) if others else None,
    }


def summary(report: dict[str, Any]) -> str:
    """Format what `compare_runs` returned, as a heading and a table in Markdown."""
    settings = report["settings"]
    lines = [f"{name}: {setting}" for name, setting in settings.items()]
    lines.append(
        f"{report['lines']} speeches: {report['sentences']} sentences in {report['voices']} voices"
    )
    heading = ["figure", "a"] + (["b", "b less a", "clear"] if "b" in settings else [])
    rows = [_row(figure, report["figures"][figure.key], len(heading)) for figure in FIGURES]
    return "\n".join(lines) + "\n\n" + table(heading, rows)


def judge_summary(judge: dict[str, float | None]) -> str:
    """Format what `describe_judge` returned, in sentences."""
    sentences = []
    if judge["word_error_rate"] is not None:
        share = f"{judge['word_error_rate']:.1%}"
        sentences.append(f"Whisper itself gets {share} of the references' words wrong.")
    if judge["halves"] is not None:
        sentences.append(f"Two halves of one reference are {judge['halves']:.3f} alike,")
        others = judge["others"]
        sentences.append(
            "and there is no other to compare with."
            if others is None
            else f"and two different references {others:.3f}."
        )
    return " ".join(sentences)


def _pairs(a: Run, b: Run | None) -> list[tuple[Verdict, ...]]:
    if b is None:
        return [(verdict,) for verdict in a.verdicts]
    others = {_line(verdict): verdict for verdict in b.verdicts}
    pairs: list[tuple[Verdict, ...]] = [
        (verdict, others[_line(verdict)]) for verdict in a.verdicts if _line(verdict) in others
    ]
    if not pairs:
        raise CannotMeasureError(
            "the two runs have no speech in common: the same recordings are needed"
        )
    return pairs


def _line(verdict: Verdict) -> tuple[str, str, int]:
    return verdict.voice, verdict.sentence, verdict.take


def _figure(figure: Figure, pairs: Sequence[tuple[Verdict, ...]]) -> dict[str, Any]:
    if not pairs:
        return {}
    sides = [figure.measurements(side) for side in zip(*pairs, strict=True)]
    is_count = figure.is_share and figure.of is None
    value_of = estimate_share if is_count else estimate
    values: dict[str, Any] = {
        name: asdict(value_of(side)) for name, side in zip("ab", sides, strict=False)
    }
    if len(sides) > 1:
        change = estimate_change(*sides)
        values |= {"change": asdict(change), "clear": change.is_clear}
    return values


def _row(figure: Figure, values: dict[str, Any], columns: int) -> list[str]:
    if not values:
        return [figure.name, *["no speech"] * (columns - 1)]
    cells = [_cell(figure, values[side]) for side in "ab" if side in values]
    if "change" in values:
        cells.append(_cell(figure, values["change"], signed=True))
        cells.append("yes" if values["clear"] else "no")
    return [figure.name, *cells]


def _cell(figure: Figure, stored: dict[str, float], *, signed: bool = False) -> str:
    value = Estimate(**stored)
    low, high = (figure.show(end, signed=signed) for end in (value.low, value.high))
    return f"{figure.show(value.value, signed=signed)} ({low} to {high})"
