"""Perth's watermarking networks, run frame by frame. Only this module uses `resemble-perth`.

The package marks whole recordings, at 32 kHz. Its networks take spectral frames of 64 ms every
10 ms, up to 2 kHz. Here frames of 64 ms are cut from speech at 24 kHz. Their bins have the same
width (15.625 Hz), so the speech need not be resampled. The marking network is given the past frames
that it needs, so it can be fed piece by piece.

Tensors have a leading dimension of rows: one for each recording. No row depends on another.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from backend.contract import REFERENCE_SAMPLE_RATE, BackendUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

_WEIGHTS = Path("pretrained", "implicit", "perth_net_250000.pth.tar")
_NETWORKS = "backend.watermark.perth_networks"
"""The name under which the package's folder of networks is imported."""

_HEADROOM_DECIBELS = 15
"""The level, in dB, that Perth's `normalize` maps to 1."""

_SIDE_FRAMES = 3
"""How many frames before and after each frame a convolution takes into account."""


def load_perth(device: str) -> Any:
    """Load Perth's `PerthNet` with the weights from its wheel.

    Raises `BackendUnavailableError` if the package, or something it needs, is not installed.
    """
    try:
        folder = _package_folder()
        config = importlib.import_module(f"{_NETWORKS}.config")
        perth_net = importlib.import_module(f"{_NETWORKS}.model.perth_net")
    except ImportError as error:
        raise BackendUnavailableError(
            f"the watermark can't be loaded without {error.name}. On this machine, install it: "
            ".venv/bin/pip install -c constraints.txt -e '.[local]'. On Modal, deploy again."
        ) from error
    # Not `PerthNet.load`, which prints to the standard output.
    net = perth_net.PerthNet(config.default_hp)
    net.load_state_dict(
        torch.load(folder / _WEIGHTS, map_location="cpu", weights_only=True)["model"]
    )
    return net.requires_grad_(requires_grad=False).to(device).eval()


def _package_folder() -> Path:
    """Where the package is; afterwards its networks can be imported from `_NETWORKS`.

    `import perth` would import what the networks don't need, too: librosa, parts of which compile
    themselves for seconds where they have not been imported before.

    Raises ImportError if the package is not installed.
    """
    found = importlib.util.find_spec("perth")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'perth'", name="perth")
    folder = Path(found.submodule_search_locations[0], "perth_net")
    if _NETWORKS not in sys.modules:
        networks = ModuleType(_NETWORKS)
        networks.__path__ = [str(folder / "perth_net_implicit")]
        sys.modules[_NETWORKS] = networks
    return folder


class SpectralFrames:
    """Cuts speech at `REFERENCE_SAMPLE_RATE` into frames as Perth's networks expect them.

    Speech that was played at another speed, pitch included, need not be resampled either. At a
    speed of 1.05 all frequencies are 5 % higher. In frames that are 5 % shorter, with bins that
    are 5 % wider, each frequency is in the bin in which it was before.

    Args:
        net: Perth's networks.
        speed: How much faster than it was made the speech is played.

    Attributes:
        length: How many samples a frame has.
        hop: Samples from the start of one frame to the start of the next.
    """

    def __init__(self, net: Any, *, speed: float = 1.0) -> None:
        samples = REFERENCE_SAMPLE_RATE / net.hp.sample_rate / speed
        self.length: int = round(net.hp.n_fft * samples)
        self.hop: int = round(net.hp.hop_size * samples)
        self._window = torch.hann_window(self.length, device=net.device)
        self._synthesis_window = self._window / self._overlapping_squares()
        lowest_decibels = 20 * math.log10(net.hp.stft_magnitude_min)
        # Magnitudes grow with the number of samples in a frame. The networks were trained on
        # frames of Perth's length.
        scale = net.hp.n_fft / self.length
        self._floor: float = net.hp.stft_magnitude_min / scale
        self._decibel_range = _HEADROOM_DECIBELS - lowest_decibels
        self._offset = (20 * math.log10(scale) - lowest_decibels) / self._decibel_range

    def _overlapping_squares(self) -> torch.Tensor:
        """The sum of all frames' squared windows, at each sample of a frame."""
        squares = functional.pad(self._window**2, (0, -self.length % self.hop))
        sums = squares.view(-1, self.hop).sum(0)
        return sums.repeat(len(squares) // self.hop)[: self.length]

    def spectra(self, audio: torch.Tensor) -> torch.Tensor:
        """Complex spectra of every whole frame in `audio`.

        Args:
            audio: `(rows, n)`.

        Returns:
            `(rows, frames, length // 2 + 1)`, possibly no frames.
        """
        if audio.shape[1] < self.length:
            bins = self.length // 2 + 1
            return torch.zeros(len(audio), 0, bins, dtype=torch.cfloat, device=audio.device)
        frames = audio.unfold(1, self.length, self.hop)
        spectra: torch.Tensor = torch.fft.rfft(frames * self._window)
        return spectra

    def levels(self, spectra: torch.Tensor) -> torch.Tensor:
        """Loudness as the networks measure it, like `spectra`: 0 at -180 dB, 1 at 15 dB."""
        loudness = spectra.abs().clamp(self._floor).log10()
        return loudness * (20 / self._decibel_range) + self._offset

    def difference(self, spectra: torch.Tensor, raised: torch.Tensor) -> torch.Tensor:
        """The signal to add so that the levels of the lowest bins change.

        Args:
            spectra: The lowest bins, as from `spectra`, as pairs of real numbers:
                `(rows, frames, bins, 2)` with one frame or more.
            raised: By how much the `levels` change, `(rows, frames, bins)`.

        Returns:
            The overlap-added frames: `(rows, (frames - 1) * hop + length)`.
        """
        gains = torch.expm1(raised * (math.log(10) / 20 * self._decibel_range))
        added = torch.view_as_complex(spectra * gains[..., None])
        frames = torch.fft.irfft(added, self.length) * self._synthesis_window
        total = (frames.shape[1] - 1) * self.hop + self.length
        overlapped = functional.fold(
            frames.mT, (1, total), kernel_size=(1, self.length), stride=(1, self.hop)
        )
        return overlapped.flatten(1)


class StreamingEncoder:
    """Perth's marking network, fed with the frames of recordings piece by piece.

    It has five convolutions, each of which needs 3 frames on either side. So its output is 15
    frames behind its input. It equals the network's output for all frames at once. It keeps
    nothing: the past frames of each convolution's input are handed in and out.

    Attributes:
        bins: How many of the lowest bins it takes.
        hidden: How many channels its convolutions have.
        first_past: The past at the beginning of a recording, for each convolution
            `(1, 3, hidden)`: the network pads with zeros there.
    """

    def __init__(self, net: Any) -> None:
        first, *convolutions, last = (_Convolution(layer.conv) for layer in net.encoder.layers)
        self._first, self._convolutions, self._last = first, convolutions, last
        self.bins: int = net.subband
        self.hidden: int = net.hp.hidden_size
        self._padding = torch.zeros(1, _SIDE_FRAMES, self.hidden, device=net.device)
        self.first_past = [self._padding for _ in convolutions]

    def __call__(
        self, levels: torch.Tensor, past: Sequence[torch.Tensor], *, is_last: bool
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Take the levels of the next frames; return the level changes that are complete.

        Args:
            levels: `(rows, frames, bins)`.
            past: The past of each convolution, `(rows, frames, hidden)`.
            is_last: Whether no frame follows. Then all remaining changes are returned.

        Returns:
            The changes, `(rows, frames, bins)`: more or fewer frames than were given, possibly
            none. Then the past for the next call.
        """
        hidden = functional.leaky_relu(self._first(levels))
        after = [self._padding.expand(len(levels), -1, -1)] if is_last else []
        kept = []
        for before, convolution in zip(past, self._convolutions, strict=True):
            frames = torch.cat([before, hidden, *after], dim=1)
            kept.append(frames[:, -2 * _SIDE_FRAMES :])
            hidden = functional.leaky_relu(convolution(frames))
        return self._last(hidden), kept


class _Convolution:
    """A convolution without padding, of `(rows, frames, channels)`.

    It is computed as a matrix product: on a CPU, `conv1d` takes twice as long for the 8 frames of a
    short piece, and as long for many frames.
    """

    def __init__(self, convolution: torch.nn.Conv1d) -> None:
        (self._width,) = convolution.kernel_size
        # The channels of a frame lie together, and so do neighbouring frames.
        self._weight = convolution.weight.transpose(1, 2).flatten(1)
        self._bias = convolution.bias

    def __call__(self, frames: torch.Tensor) -> torch.Tensor:
        rows, count, channels = frames.shape
        complete = count - self._width + 1
        if complete <= 0:
            return frames.new_zeros(rows, 0, len(self._weight))
        size = self._width * channels
        neighbourhoods = frames.flatten(1).unfold(1, size, channels).reshape(-1, size)
        computed = functional.linear(neighbourhoods, self._weight, self._bias)
        return computed.view(rows, complete, -1)
