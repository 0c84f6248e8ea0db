"""Engines on miniature checkpoints, shared by all tests of a run: the real package on a CPU."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backend.contract import ConsentRecord, SpeechError, VoicePrompt
from tests.support.buzz import buzz
from tests.support.shared_files import made_once, shared_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from numpy.typing import NDArray

    from backend.engine.engine import Engine
    from backend.service import SpeechService
    from backend.watermark.watermark import Watermarker
    from tests.backend.service_parts import Outside, ScriptedTranscriber


TRANSCRIPT = "The words of the reference."

SIZES: dict[str, Any] = {"code_groups": 4, "seed": 3}
"""A miniature's, unless a test asks for others.

A frame of 4 codes is made four times as fast as one of 16, which the published models have. With
this seed, speech comes to its end within some tens of frames.
"""


def spoken(result: NDArray[np.float32] | SpeechError) -> NDArray[np.float32]:
    """What one job of a batch gave, which must be speech."""
    assert isinstance(result, np.ndarray)
    return result


@pytest.fixture(scope="session")
def consent() -> ConsentRecord:
    return ConsentRecord(4242, datetime(2026, 5, 17, 12, 30, tzinfo=UTC), "2026-05")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory, "miniature", end_of_speech_scale=3.0)


@pytest.fixture(scope="session")
def engine(checkpoint: Path) -> Engine:
    return load(checkpoint)


@pytest.fixture(scope="session")
def greedy_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that always takes the likeliest code, so that two programs can be compared.

    A frame has 16 codes, as in the published models.
    """
    return make_checkpoint(
        tmp_path_factory,
        "greedy",
        code_groups=16,
        do_sample=False,
        end_of_speech_scale=2.0,
    )


@pytest.fixture(scope="session")
def quick_greedy_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with few codes in a frame, for tests in which the package makes many of them."""
    return make_checkpoint(
        tmp_path_factory, "quick-greedy", do_sample=False, end_of_speech_scale=2.0
    )


@pytest.fixture(scope="session")
def greedy_engine(greedy_checkpoint: Path) -> Engine:
    return load(greedy_checkpoint)


@pytest.fixture(scope="session")
def endless_engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """One that never ends its speech."""
    return load(make_checkpoint(tmp_path_factory, "endless", end_of_speech_scale=0.0))


@pytest.fixture(scope="session")
def other_engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """One with no dimension and no text layout in common with the others."""
    return load(
        make_checkpoint(
            tmp_path_factory,
            "other",
            hidden_size=96,
            text_hidden_size=40,
            talker_layers=3,
            talker_heads=6,
            talker_key_value_heads=3,
            head_dim=24,
            intermediate_size=176,
            predictor_hidden_size=48,
            predictor_layers=1,
            predictor_heads=2,
            predictor_key_value_heads=1,
            predictor_intermediate_size=80,
            code_groups=3,
            codebook_size=128,
            codec_hidden_size=24,
            codec_layers=3,
            codec_heads=3,
            codec_head_dim=8,
            codec_codebook_dim=40,
            codec_latent_size=28,
            codec_sliding_window=7,
            decoder_channels=32,
            end_of_speech_scale=3.5,
            seed=11,
        ),
        text_layout="along",
    )


@pytest.fixture(scope="session")
def prompt(engine: Engine, consent: ConsentRecord) -> VoicePrompt:
    """A voice in context."""
    return engine.make_prompt(buzz(110), TRANSCRIPT, consent)


@pytest.fixture(scope="session")
def x_vector_prompt(engine: Engine, consent: ConsentRecord) -> VoicePrompt:
    """Another voice, without a transcript."""
    return engine.make_prompt(buzz(240), None, consent)


@pytest.fixture(scope="module")
def watermarker() -> Watermarker:
    from backend.watermark.watermark import Watermarker  # noqa: PLC0415 - seconds of importing

    return Watermarker()


@pytest.fixture(scope="module")
def marking_engine(checkpoint: Path, watermarker: Watermarker) -> Engine:
    return load(checkpoint, watermark=watermarker)


@pytest.fixture
def transcriber() -> ScriptedTranscriber:
    from tests.backend.service_parts import ScriptedTranscriber  # noqa: PLC0415 - likewise

    return ScriptedTranscriber()


@pytest.fixture
def outside() -> Outside:
    from tests.backend.service_parts import Outside  # noqa: PLC0415 - likewise

    return Outside()


@pytest.fixture
async def service(
    marking_engine: Engine,
    watermarker: Watermarker,
    transcriber: ScriptedTranscriber,
    outside: Outside,
) -> AsyncIterator[SpeechService]:
    from tests.backend.service_parts import make_service  # noqa: PLC0415 - likewise

    service = make_service(marking_engine, watermarker, outside, transcriber=transcriber.lazy)
    yield service
    await service.close()


def make_checkpoint(factory: pytest.TempPathFactory, name: str, **sizes: Any) -> Path:
    """A miniature of that name, made once in a test run."""

    def make(folder: Path) -> None:
        from tests.support.miniature import build_miniature  # noqa: PLC0415 - seconds of importing

        build_miniature(folder, **{**SIZES, **sizes})

    return made_once(shared_folder(factory) / name, make)


def load(checkpoint: Path, **options: Any) -> Engine:
    from backend.engine.engine import Engine  # noqa: PLC0415 - seconds of importing
    from backend.engine.loading import load_model  # noqa: PLC0415 - as above

    choices: dict[str, Any] = {"watermark": None, "device": "cpu", **options}
    of_engine = {"watermark", "require_consent", "text_layout", "cuda_graphs"} & choices.keys()
    for_engine = {name: choices.pop(name) for name in of_engine}
    return Engine(*load_model(checkpoint, **choices), **for_engine)
