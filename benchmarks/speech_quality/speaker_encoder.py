"""How alike two voices are, by Resemblyzer's speaker encoder (GE2E).

Only the weights in its wheel are used. The package itself would also need webrtcvad, which has to
be compiled, and a module of SciPy's that is about to go. What it computes is computed here: 40 mel
bands every 10 ms, three LSTM layers over stretches of 1.6 s, and the mean of what they say. Pauses
are left out beforehand as the bot leaves them out, by Silero VAD instead of WebRTC's.
https://github.com/resemble-ai/Resemblyzer (Apache 2.0)
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soxr
import torch
from torch.nn import functional

from backend.contract import REFERENCE_SAMPLE_RATE, BackendUnavailableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

INSTALL_HINT = (
    "The speaker encoder's weights aren't installed. Install them: "
    ".venv/bin/pip install --no-deps Resemblyzer==0.1.4"
)

_RATE = 16_000
_WINDOW = _RATE * 25 // 1_000
_HOP = _RATE * 10 // 1_000
_BANDS = 40
_SIZE = 256
_LAYERS = 3
_STRETCH = 160  # frames
_STEP = 77  # frames: 1.3 stretches begin in a second
_LEAST_OF_LAST = 0.75  # of a stretch; a shorter rest is left out
_LOUDNESS = 10 ** (-30 / 20)  # quieter recordings are raised to this RMS


class SpeakerEncoder:
    """A loaded speaker encoder, on the CPU.

    Raises `BackendUnavailableError` where its weights are not installed.
    """

    def __init__(self) -> None:
        package = find_spec("resemblyzer")
        if package is None or package.origin is None:
            raise BackendUnavailableError(INSTALL_HINT)
        stored = torch.load(
            Path(package.origin).with_name("pretrained.pt"), map_location="cpu", weights_only=True
        )["model_state"]
        self._lstm = torch.nn.LSTM(_BANDS, _SIZE, _LAYERS, batch_first=True)
        self._lstm.load_state_dict(_part(stored, "lstm."))
        self._linear = torch.nn.Linear(_SIZE, _SIZE)
        self._linear.load_state_dict(_part(stored, "linear."))
        self._filters = torch.from_numpy(mel_filters())

    @torch.inference_mode()
    def embed(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Describe a voice.

        Args:
            samples: `(n,)`, mono at `REFERENCE_SAMPLE_RATE`, without long pauses.

        Returns:
            `(256,)`, of length 1: the product of two of these is their similarity, from 0 to 1.
        """
        mels = self._mels(soxr.resample(samples, REFERENCE_SAMPLE_RATE, _RATE))
        stretches = torch.stack([mels[start:][:_STRETCH] for start in _starts(len(mels))])
        _, (hidden, _) = self._lstm(stretches)
        embeddings = functional.normalize(functional.relu(self._linear(hidden[-1])), dim=1)
        mean: NDArray[np.float32] = functional.normalize(embeddings.mean(dim=0), dim=0).numpy()
        return mean

    def _mels(self, samples: NDArray[np.float32]) -> torch.Tensor:
        """Power in mel bands, every 10 ms: `(frames, bands)`, with silence after a short end."""
        level = float(np.sqrt(np.mean(np.square(samples), dtype=np.float64)))
        raised = torch.from_numpy(samples) * max(1.0, _LOUDNESS / max(level, 1e-9))
        frames = -(-(len(samples) + 1) // _HOP)
        missing = (_starts(frames)[-1] + _STRETCH) * _HOP - len(samples)
        spectrum = torch.stft(
            functional.pad(raised, (0, max(0, missing))),
            _WINDOW,
            _HOP,
            window=torch.hann_window(_WINDOW),
            pad_mode="constant",
            return_complex=True,
        )
        return (self._filters @ spectrum.abs().square()).T


def _starts(frames: int) -> range:
    """The first frames of the stretches that cover a recording; at least one."""
    starts = range(0, max(1, frames - _STRETCH + _STEP + 1), _STEP)
    covered = (frames - starts[-1]) / _STRETCH
    return starts if covered >= _LEAST_OF_LAST or len(starts) == 1 else starts[:-1]


def _part(stored: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(prefix): weight
        for name, weight in stored.items()
        if name.startswith(prefix)
    }


def mel_filters() -> NDArray[np.float32]:
    """Triangles of equal area on Slaney's mel scale, as librosa makes them: `(bands, bins)`."""
    bins = np.linspace(0, _RATE / 2, _WINDOW // 2 + 1)
    edges = _hertz(np.linspace(0, _mels_of(_RATE / 2), _BANDS + 2))
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


def _mels_of(hertz: float) -> float:
    """Slaney's scale above 1 kHz, where it is logarithmic."""
    return float(15 + np.log(hertz / 1_000) * 27 / np.log(6.4))


def _hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mels < 15, mels * 200 / 3, 1_000 * 6.4 ** ((mels - 15) / 27))  # noqa: PLR2004
