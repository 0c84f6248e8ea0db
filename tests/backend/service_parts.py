"""Services on miniature checkpoints, with transcribers that a test decides."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import soundfile

from backend.contract import REFERENCE_SAMPLE_RATE, SpeechRequest, VoicePrompt
from backend.reference.transcriber import Transcriber, Transcription
from backend.reference.transcript import LazyTranscriber
from backend.service import SpeechService
from backend.voice_prompt import read_voice_prompt
from tests.support.buzz import buzz

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from backend.engine.engine import Engine
    from backend.voice_prompt import ClonedVoice
    from backend.watermark.watermark import Watermarker

STATEMENT = "This is my own voice, and it may be cloned."


@dataclass
class ScriptedTranscriber:
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
    def lazy(self) -> LazyTranscriber:
        return LazyTranscriber(lambda: cast("Transcriber", self))


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
    transcriber: LazyTranscriber | None = None,
    require_consent: bool = True,
) -> SpeechService:
    return SpeechService(
        engine,
        watermarker=watermarker,
        transcriber=transcriber or LazyTranscriber(None),
        fetch=outside.fetch,
        label="Miniature",
        require_consent=require_consent,
        on_breakdown=outside.on_breakdown,
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


LOW, HIGH = clip(110), clip(240)
SENTENCE = "Good evening, everybody."
SEED = 1
"""With it the miniature ends its sentence after about a second."""


async def clone(service: SpeechService, *texts: str, **changes: Any) -> list[bytes]:
    arguments: dict[str, Any] = {
        "texts": texts or [SENTENCE],
        "languages": ["English"] * max(1, len(texts)),
        "ref_audio": LOW,
        "ref_text": "The words of the reference.",
        "max_new_tokens": 2048,
        "consent": STATEMENT,
        "seed": SEED,
    }
    return await service.clone(**{**arguments, **changes})


async def make_prompt(
    service: SpeechService, ref_audio: bytes | str = LOW, **changes: Any
) -> bytes:
    arguments = {"ref_text": None, "consent": STATEMENT, "caller": "", **changes}
    answer = await service.create_voice_prompt(ref_audio, **arguments)
    return answer["prompt"]


def request(service: SpeechService, prompt: bytes, **changes: Any) -> SpeechRequest:
    arguments: dict[str, Any] = {"text": SENTENCE, "language": "English", "seed": SEED}
    voice = VoicePrompt(prompt, service.model_id)
    return SpeechRequest(**{**arguments, "prompt": voice, **changes})


async def speak(service: SpeechService, prompt: bytes, **changes: Any) -> bytes:
    return await service.speak(request(service, prompt, **changes))


def inside(prompt: bytes, engine: Engine) -> ClonedVoice:
    return read_voice_prompt(prompt, engine.prompt_model)
