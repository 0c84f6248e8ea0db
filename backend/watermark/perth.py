"""Perth's watermarking networks, run frame by frame. Only this module uses `resemble-perth`.

The package marks whole recordings, at 32 kHz. Its networks take spectral frames of 64 ms every
10 ms, up to 2 kHz. Here frames of 64 ms are cut from speech at 24 kHz. Their bins have the same
width (15.625 Hz), so the speech need not be resampled. The marking network keeps the past frames
that it needs, so it can be fed piece by piece.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from backend.contract import REFERENCE_SAMPLE_RATE, BackendUnavailableError

_WEIGHTS = Path("implicit", "perth_net_250000.pth.tar")
_HEADROOM_DECIBELS = 15
"""The level, in dB, that Perth's `normalize` maps to 1."""

_SIDE_FRAMES = 3
"""How many frames before and after each frame a convolution takes into account."""


def load_perth(device: str) -> Any:
    """Load Perth's `PerthNet` with the weights from its wheel. Takes seconds.

    Raises `BackendUnavailableError` if the package, or something it needs, is not installed.
    """
    try:
        with warnings.catch_warnings():
            # Perth finds its weights with pkg_resources, which setuptools has deprecated.
            warnings.filterwarnings("ignore", message=".*pkg_resources")
            # Imported here because it imports librosa, which takes seconds.
            from perth.perth_net import PREPACKAGED_MODELS_DIR  # noqa: PLC0415
            from perth.perth_net.perth_net_implicit.config import default_hp  # noqa: PLC0415
            from perth.perth_net.perth_net_implicit.model.perth_net import PerthNet  # noqa: PLC0415
    except ImportError as error:
        raise BackendUnavailableError(
            f"the watermark can't be loaded without {error.name}: "
            "install resemble-perth and setuptools<81"
        ) from error
    # Not `PerthNet.load`, which prints to the standard output.
    net = PerthNet(default_hp)
    path = Path(PREPACKAGED_MODELS_DIR, _WEIGHTS)
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["model"])
    return net.requires_grad_(requires_grad=False).to(device).eval()


class SpectralFrames:
    """Cuts speech at `REFERENCE_SAMPLE_RATE` into frames as Perth's networks expect them.

    Attributes:
        length: How many samples a frame has.
        hop: Samples from the start of one frame to the start of the next.
    """

    def __init__(self, net: Any) -> None:
        self._perth_length: int = net.hp.n_fft
        self._floor: float = net.hp.stft_magnitude_min
        self.length: int = net.hp.n_fft * REFERENCE_SAMPLE_RATE // net.hp.sample_rate
        self.hop: int = net.hp.hop_size * REFERENCE_SAMPLE_RATE // net.hp.sample_rate
        self._window = torch.hann_window(self.length, device=net.device)
        self._synthesis_window = self._window / self._overlapping_squares()

    def _overlapping_squares(self) -> torch.Tensor:
        """The sum of all frames' squared windows, at each sample of a frame."""
        squares = functional.pad(self._window**2, (0, -self.length % self.hop))
        sums = squares.view(-1, self.hop).sum(0)
        return sums.repeat(len(squares) // self.hop)[: self.length]

    def spectra(self, audio: torch.Tensor) -> torch.Tensor:
        """Complex spectra `(frames, length // 2 + 1)` of every whole frame in `audio` `(n,)`."""
        if len(audio) < self.length:
            return torch.zeros(0, self.length // 2 + 1, dtype=torch.cfloat, device=audio.device)
        frames = audio.unfold(0, self.length, self.hop)
        spectra: torch.Tensor = torch.fft.rfft(frames * self._window)
        return spectra

    def levels(self, spectra: torch.Tensor) -> torch.Tensor:
        """Loudness as the networks measure it, like `spectra`: 0 at -180 dB, 1 at 15 dB."""
        # Magnitudes grow with the number of samples in a frame. The networks were trained on
        # frames of Perth's length.
        magnitudes = spectra.abs() * (self._perth_length / self.length)
        decibels = 20 * magnitudes.clamp(self._floor).log10()
        return (decibels - _HEADROOM_DECIBELS) / self._decibel_range + 1

    def difference(self, spectra: torch.Tensor, raised: torch.Tensor) -> torch.Tensor:
        """The signal to add so that the levels of the lowest bins change.

        Args:
            spectra: `(frames, bins)` with one frame or more, as from `spectra`.
            raised: By how much the `levels` change, `(frames, fewer bins)`.

        Returns:
            The overlap-added frames: `((frames - 1) * hop + length,)`.
        """
        gains = 10 ** (raised * (self._decibel_range / 20)) - 1
        added = spectra[:, : raised.shape[1]] * gains
        frames = torch.fft.irfft(added, self.length) * self._synthesis_window
        total = (len(frames) - 1) * self.hop + self.length
        overlapped = functional.fold(
            frames.T[None], (1, total), kernel_size=(1, self.length), stride=(1, self.hop)
        )
        return overlapped.flatten()

    @property
    def _decibel_range(self) -> float:
        return _HEADROOM_DECIBELS - 20 * math.log10(self._floor)


class StreamingEncoder:
    """Perth's marking network, fed with the frames of one recording piece by piece.

    It has five convolutions, each of which needs 3 frames on either side. So its output is 15
    frames behind its input. It equals the network's output for all frames at once.
    """

    def __init__(self, net: Any) -> None:
        first, *convolutions, last = (layer.conv for layer in net.encoder.layers)
        self._first, self._convolutions, self._last = first, convolutions, last
        self.bins: int = net.subband
        # The network pads each convolution with zeros at both ends of a recording.
        self._padding = torch.zeros(_SIDE_FRAMES, net.hp.hidden_size, device=net.device)
        self._past = [self._padding for _ in convolutions]

    def __call__(self, levels: torch.Tensor, *, is_last: bool) -> torch.Tensor:
        """Take the levels of the next frames; return the level changes that are complete.

        Args:
            levels: `(frames, bins)`.
            is_last: Whether no frame follows. Then all remaining changes are returned.

        Returns:
            `(frames, bins)`; more or fewer frames than were given, possibly none.
        """
        hidden = functional.leaky_relu(_convolve(levels, self._first))
        for position, convolution in enumerate(self._convolutions):
            after = [self._padding] if is_last else []
            hidden = torch.cat([self._past[position], hidden, *after])
            self._past[position] = hidden[-2 * _SIDE_FRAMES :]
            hidden = functional.leaky_relu(_convolve(hidden, convolution))
        return _convolve(hidden, self._last)


def _convolve(frames: torch.Tensor, convolution: torch.nn.Conv1d) -> torch.Tensor:
    """Apply a convolution without padding to `(frames, channels)`.

    It is computed as a matrix product: on a CPU, `conv1d` takes twice as long for the 8 frames of a
    short piece, and as long for many frames.
    """
    width = convolution.kernel_size[0]
    if len(frames) < width:
        return frames.new_zeros(0, convolution.out_channels)
    neighbourhoods = frames.unfold(0, width, 1).flatten(1)
    return functional.linear(neighbourhoods, convolution.weight.flatten(1), convolution.bias)
