"""Services on miniature checkpoints, with ears that a test gives them."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import soundfile

from backend.contract import REFERENCE_SAMPLE_RATE
from backend.reference.transcriber import Transcriber, Transcription
from backend.reference.transcript import Hearing
from backend.service import SpeechService
from backend.speaker import Speaker
from tests.backend.conftest import buzz

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from backend.engine.engine import Engine
    from backend.watermark.watermark import Watermarker

STATEMENT = "This is my own voice, and it may be cloned."


@dataclass
class Ears:
    """A transcriber that hears what a test says, in the shape of `Transcriber`.

    Attributes:
        text: What it hears.
        seconds: How long it takes, blocking.
        fails: Whether it crashes.
        clips: What it was given to hear.
    """

    text: str = "The words of the reference."
    seconds: float = 0.0
    fails: bool = False
    clips: list[NDArray[np.float32]] = field(default_factory=list)

    def transcribe(self, samples: NDArray[np.float32], _sample_rate: int) -> Transcription:
        time.sleep(self.seconds)
        if self.fails:
            raise RuntimeError(f"out of memory while hearing {self.text}")
        self.clips.append(samples)
        return Transcription(self.text, "English", 0.9)

    @property
    def hearing(self) -> Hearing:
        return Hearing(lambda: cast("Transcriber", self))


@dataclass
class Outside:
    """What a service does to the world around it.

    Attributes:
        fetched: The addresses that it asked for.
        breakdowns: How often it asked to be replaced.
    """

    fetched: list[str] = field(default_factory=list)
    breakdowns: int = 0

    async def fetch(self, address: str) -> bytes:
        self.fetched.append(address)
        return clip(150)

    async def on_breakdown(self) -> None:
        self.breakdowns += 1


def make_service(
    engine: Engine,
    watermarker: Watermarker,
    outside: Outside,
    *,
    hearing: Hearing | None = None,
    require_consent: bool = True,
) -> SpeechService:
    return SpeechService(
        Speaker(engine, outside.on_breakdown),
        engine.info(),
        watermarker=watermarker,
        hearing=hearing or Hearing(None),
        fetch=outside.fetch,
        label="Miniature",
        require_consent=require_consent,
    )


def clip(pitch: float, seconds: float = 4.0) -> bytes:
    """A reference clip as a WAV file."""
    file = io.BytesIO()
    soundfile.write(file, buzz(pitch, seconds), REFERENCE_SAMPLE_RATE, format="WAV")
    return file.getvalue()


def samples_of(wav: bytes) -> NDArray[np.float32]:
    """The samples of a WAV file, which must be what every answer is: mono, 16-bit, 24 kHz."""
    with soundfile.SoundFile(io.BytesIO(wav)) as file:
        assert (file.channels, file.samplerate, file.subtype) == (
            1,
            REFERENCE_SAMPLE_RATE,
            "PCM_16",
        )
        samples: NDArray[np.float32] = file.read(dtype="float32")
    assert len(samples)
    return samples
