"""Levels: bring recordings to a common one, and tell what is wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backend.contract import REFERENCE_SAMPLE_RATE
from bot.audio.speech_activity import in_windows
from bot.errors import Refusal

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPEECH_LEVEL = -23.0
"""The level that clips are brought to: RMS of the windows with speech, in dBFS."""

PEAK_CEILING = -1.0
"""No sample of a clip is above this, in dBFS, even where its speech is then fainter."""

_FAINTEST_PEAK = -50.0
"""In dBFS. Below it, speech drowns in the noise of any microphone, and is no longer found."""

_LARGEST_SAMPLE = 4.0
"""Programs that write floats on the scale of integers go beyond this; speech does not."""

_CLIPPED = 0.95
"""Resampling and lossy codecs move clipped samples a little away from 1."""

_FADE = round(0.005 * REFERENCE_SAMPLE_RATE)
_DISTORTED_SHARE = 0.005
_NOISY = 10.0
"""Decibels between speech and pauses below which a recording is noisy."""


def condition(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take away DC offset and odd scales. Raises `Refusal` if there is nothing to work with."""
    if not np.isfinite(samples).all():
        raise Refusal("That recording is damaged. Save it again as wav or mp3, and send that.")
    largest = np.abs(samples).max()
    if largest > _LARGEST_SAMPLE:
        samples = samples / largest
    samples = samples - samples.mean(dtype=np.float64).astype(np.float32)
    if is_too_quiet(samples):
        raise Refusal(
            "That recording is silent, or too quiet to use. "
            "Record closer to the microphone, and try again."
        )
    return samples


def is_too_quiet(samples: NDArray[np.float32]) -> bool:
    """Whether nothing in a recording is loud enough to be speech."""
    return decibels(float(np.abs(samples).max()) ** 2) < _FAINTEST_PEAK


def bring_to_level(clip: NDArray[np.float32], spoken: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale a clip to `SPEECH_LEVEL` and soften its edges.

    Args:
        clip: `(n,)`.
        spoken: The windows of it that hold speech, `(windows, WINDOW)`.
    """
    wanted = SPEECH_LEVEL - decibels(float(np.square(spoken).mean(dtype=np.float64)))
    allowed = PEAK_CEILING - decibels(float(np.abs(clip).max()) ** 2)
    leveled = clip * np.float32(10 ** (min(wanted, allowed) / 20))
    ramp = np.linspace(0, 1, _FADE, dtype=np.float32)
    leveled[:_FADE] *= ramp
    leveled[-_FADE:] *= ramp[::-1]
    return leveled


def find_flaws(samples: NDArray[np.float32], speech: NDArray[np.bool_]) -> tuple[str, ...]:
    """Say what keeps a recording from making a good voice, in sentences for its owner.

    Args:
        samples: `(n,)`, at the level they were recorded with.
        speech: What `SpeechDetector.find_speech` says of `samples`.
    """
    windows = in_windows(samples)
    flaws = []
    if is_clipped(windows[speech]).mean() > _DISTORTED_SHARE:
        flaws.append(
            "The recording is distorted because it was recorded too loud; "
            "a softer one would make a better voice."
        )
    power = np.square(windows).mean(axis=1, dtype=np.float64)
    pauses = power[~speech]
    # The quieter part of the pauses: words fade into the rest.
    if len(pauses) and (
        decibels(power[speech].mean()) - decibels(np.quantile(pauses, 0.25)) < _NOISY
    ):
        flaws.append(
            "There is a lot of noise in the recording; "
            "one from a quieter place would make a better voice."
        )
    return tuple(flaws)


def is_clipped(samples: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which samples are at the limit of what a recorder can store."""
    return np.abs(samples) >= _CLIPPED


def decibels(power: float) -> float:
    """A mean square in dB relative to full scale."""
    return float(10 * np.log10(power + 1e-12))
