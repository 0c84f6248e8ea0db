"""Compare the engine with the plain qwen-tts package: `python -m benchmarks.engine`.

Both run the same checkpoint on the same device, alternately in one process. Without `--model` the
checkpoint is a miniature with random weights, built for the run. Its matrix products take almost no
time, so everything around them is compared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from backend.contract import REFERENCE_SAMPLE_RATE
from backend.engine.engine import Engine
from backend.engine.loading import load_model
from backend.watermark.watermark import Watermarker
from benchmarks.measuring import compare, describe_machine, table
from benchmarks.our_service import OurService
from benchmarks.plain_service import PlainService
from bot.audio.encode import AudioFormat, encode_speech
from tests.backend.watermark.marking import mark
from tests.support.miniature import build_miniature
from tests.support.recordings import SENTENCES, speech

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CALLERS = (1, 2, 4, 8, 16)
TEXTS = (*SENTENCES, *(sentence.partition(",")[0] + "." for sentence in SENTENCES[:6]))
ONE_BY_ONE = TEXTS[:4]
"""Texts for one request at a time. Several are used, because sentences differ in length."""

REFERENCE_SECONDS = 10.0
TRANSCRIPT = " ".join(SENTENCES[:2])
UPLOAD_LIMIT = 10 * 2**20
MINIATURE = {"end_of_speech_scale": 3.2}
"""Sentences take about two seconds, so that the benchmark takes a few minutes."""


@dataclass(frozen=True)
class Comparison:
    """Both sides, with the same checkpoint and the same voice.

    Attributes:
        ours: The engine.
        plain: The package.
        repeats: How often each is measured.
    """

    ours: OurService
    plain: PlainService
    repeats: int

    def throughput(self, texts: Sequence[str]) -> dict[str, float]:
        """Compare the seconds of speech per second of time, for texts that arrive together."""
        return self._compare(
            ours=lambda: self.ours.speak_concurrently(texts),
            plain=lambda: self.plain.speak_concurrently(texts),
        )

    def first_sound(self) -> dict[str, float]:
        """Compare the seconds until playback can begin."""
        return self._compare(
            ours=lambda: self.ours.seconds_to_first_chunk(ONE_BY_ONE),
            plain=lambda: self.plain.seconds_to_whole_file(ONE_BY_ONE),
        )

    def reference(self) -> dict[str, float]:
        """Compare the seconds per second of speech: saved prompt, or encoding the reference."""
        return self._compare(
            ours=lambda: 1 / self.ours.speak_one_by_one(ONE_BY_ONE),
            plain=lambda: 1 / self.plain.speak_from_reference(ONE_BY_ONE),
        )

    def _compare(self, **sides: Callable[[], float]) -> dict[str, float]:
        return compare(self.repeats, sides)


def main() -> None:
    """Measure, and print tables; with --json, print one JSON object after them."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or str(build_miniature(Path(folder), **MINIATURE))
        report = _measure(model, options.repeats)
    print(_summary(report))  # noqa: T201 - a command-line program
    if options.json:
        print(json.dumps(report))  # noqa: T201 - as above


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument("--model", help="a checkpoint's folder or name (default: a miniature)")
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement (default: 3)")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    return parser.parse_args()


def _measure(model: str, repeats: int) -> dict[str, Any]:
    engine = Engine(*load_model(model), watermark=Watermarker())
    info = engine.info()
    reference = speech(REFERENCE_SECONDS)
    plain = PlainService(
        model,
        device=info.device,
        dtype=info.dtype,
        attention=info.attention,
        reference=reference,
        transcript=TRANSCRIPT,
    )
    ours = OurService(engine, reference, TRANSCRIPT)
    comparison = Comparison(ours, plain, repeats)
    comparison.throughput(TEXTS[:1])  # a warm-up, because first calls are slow
    throughput = {str(callers): comparison.throughput(TEXTS[:callers]) for callers in CALLERS}
    first_sound = comparison.first_sound()
    reference_cost = comparison.reference()
    ours.close()
    return {
        "machine": f"{describe_machine()}; {info.device_name}, torch {torch.__version__}",
        "model": f"{info.model_id}, {info.dtype}, {info.attention}",
        "throughput": throughput,
        "throughput_ratio": {
            callers: sides["ours"] / sides["plain"] for callers, sides in throughput.items()
        },
        "first_sound_seconds": first_sound,
        "first_chunk_ratio": first_sound["ours"] / first_sound["plain"],
        "reference_seconds": reference_cost,
        "saved_prompt_ratio": reference_cost["ours"] / reference_cost["plain"],
        "cost_per_second": _costs(repeats),
    }


def _costs(repeats: int) -> dict[str, float]:
    """Measure the seconds for watermarking and for encoding a second of speech."""
    samples = speech(REFERENCE_SECONDS)
    pcm = (samples * 32_767).astype("<i2").tobytes()
    watermarker = Watermarker()

    def watermark() -> float:
        return _seconds(lambda: mark(watermarker, samples))

    def encode() -> float:
        return _seconds(lambda: asyncio.run(_encode(pcm)))

    return compare(repeats, {"watermark": watermark, "ogg": encode})


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) / REFERENCE_SECONDS


async def _encode(pcm: bytes) -> None:
    await encode_speech(
        pcm, REFERENCE_SAMPLE_RATE, AudioFormat.OGG, limit_bytes=UPLOAD_LIMIT, stem="speech"
    )


def _summary(report: dict[str, Any]) -> str:
    throughput = table(
        ["callers", "ours", "plain package", "ratio"],
        [
            [callers, f"{sides['ours']:.2f} s/s", f"{sides['plain']:.2f} s/s", f"{ratio:.1f}"]
            for (callers, sides), ratio in zip(
                report["throughput"].items(), report["throughput_ratio"].values(), strict=True
            )
        ],
    )
    first, reference = report["first_sound_seconds"], report["reference_seconds"]
    waiting = table(
        ["seconds", "ours", "plain package", "ratio"],
        [
            [name, f"{sides['ours']:.3f}", f"{sides['plain']:.3f}", f"{ratio:.2f}"]
            for name, sides, ratio in (
                ("until something can be played", first, report["first_chunk_ratio"]),
                ("a second of speech, reference included", reference, report["saved_prompt_ratio"]),
            )
        ],
    )
    cost = report["cost_per_second"]
    return (
        f"{report['machine']}\n{report['model']}\n\n{throughput}\n\n{waiting}\n\n"
        f"A second of speech takes {cost['watermark'] * 1_000:.0f} ms to mark and "
        f"{cost['ogg'] * 1_000:.0f} ms to encode as Ogg/Opus."
    )


if __name__ == "__main__":
    main()
