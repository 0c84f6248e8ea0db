"""Faults made on purpose, to see whether the figures show them.

A measurement that finds nothing wrong proves little before it has found something that is.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import numpy as np

from backend.contract import REFERENCE_SAMPLE_RATE
from bot.audio.decode import ffmpeg_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TEMPO = 1.17
"""How much faster rushed clones speak, by users of the model."""

_ECHO_SECONDS = 1.5
_BABBLE_TIMES = 3


def hurry(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Make speech faster by 17 %, at the same pitch."""
    raw = ("-f", "f32le", "-ar", str(REFERENCE_SAMPLE_RATE), "-ac", "1")
    command = [ffmpeg_path(), "-nostdin", "-loglevel", "error", *raw, "-i", "pipe:0"]
    command += ["-af", f"atempo={_TEMPO}", *raw, "pipe:1"]
    done = subprocess.run(command, input=samples.tobytes(), capture_output=True, check=True)  # noqa: S603 - our own arguments
    return np.frombuffer(done.stdout, np.float32)


def echo(samples: NDArray[np.float32], clip: NDArray[np.float32]) -> NDArray[np.float32]:
    """Put the end of the reference clip in front of speech."""
    return np.concatenate([clip[-round(_ECHO_SECONDS * REFERENCE_SAMPLE_RATE) :], samples])


def babble(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Let speech go on backwards, three times as long as it was."""
    return np.concatenate([samples, *[samples[::-1]] * _BABBLE_TIMES])
