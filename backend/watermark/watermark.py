"""Marks speech with an inaudible watermark, and finds the watermark in recordings.

The watermark is Perth's (`resemble-perth`): one network raises or lowers each spectral bin up to
2 kHz by at most 6 dB, and another network detects that. Only the difference is added to the speech,
15 dB below it. A recording may come in pieces; the result does not depend on where it is cut.

The mark depends on the 150 ms that follow, so a stream's output is up to
`MarkingStream.DELAY_SECONDS` behind its input. The output is not padded: the first pieces return
fewer samples than were pushed, maybe none, and `finish` returns the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from backend.contract import REFERENCE_SAMPLE_RATE
from backend.watermark.perth import SpectralFrames, StreamingEncoder, load_perth

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHORTEST_DETECTION_SECONDS = 0.3
"""In a shorter recording a watermark cannot be detected reliably."""

_SLICE = 10 * REFERENCE_SAMPLE_RATE
"""Longer recordings are processed in slices of this many samples, to limit the memory."""


class Watermarker:
    """Perth's networks, loaded once. They keep no state, so threads may share them.

    All audio is mono `(n,)` in [-1, 1] at `REFERENCE_SAMPLE_RATE`.
    """

    THRESHOLD = 0.5
    """A recording with at least this confidence counts as marked."""

    def __init__(self, device: str = "cpu") -> None:
        """Load the networks, which takes seconds.

        Raises `BackendUnavailableError` if `resemble-perth` is not installed.
        """
        self._net = load_perth(device)
        self._frames = SpectralFrames(self._net)
        self._gpu_stream = _gpu_stream(self._net.device)

    def stream(self) -> MarkingStream:
        """Start marking one recording that comes in pieces."""
        return MarkingStream(self._net, self._frames, self._gpu_stream)

    @torch.inference_mode()
    def confidence(self, samples: NDArray[np.float32]) -> float:
        """The confidence, from 0 to 1, that a recording or a part of it is marked.

        Reliable for a second or more of speech, also after Ogg/Opus at 24 kbit/s. Silence and noise
        never count as marked, but a pure tone may, because Perth was trained on speech. The
        confidence is 0 for less than `SHORTEST_DETECTION_SECONDS`.
        """
        audio = torch.from_numpy(np.array(samples, np.float32)).to(self._net.device)
        shortest = SHORTEST_DETECTION_SECONDS * REFERENCE_SAMPLE_RATE
        slices = [part for part in torch.split(audio, _SLICE) if len(part) >= shortest]
        return max(map(self._confidence, slices), default=0.0)

    def _confidence(self, audio: torch.Tensor) -> float:
        if not audio.any():
            return 0.0  # the network would divide by the number of frames that hold sound
        half = self._frames.length // 2
        spectra = self._frames.spectra(functional.pad(audio, (half, half)))
        return float(self._net.decoder(self._frames.levels(spectra).T[None]).clamp(0, 1))


class MarkingStream:
    """Marks one recording that comes in pieces of any length. Not thread-safe.

    Pieces of 80 ms take three times as long as the whole recording at once. Pieces of 320 ms take
    1.5 times as long.
    """

    DELAY_SECONDS = 0.214
    """The longest delay of the output: a frame and the frames that the network looks ahead."""

    def __init__(self, net: Any, frames: SpectralFrames, gpu_stream: Any) -> None:
        """Not to be called directly: use `Watermarker.stream`."""
        self._frames = frames
        self._gpu_stream = gpu_stream
        # Frames are centred on multiples of the hop: the first begins half a frame early.
        self._early = self._frames.length // 2
        self._pushed = 0
        self._unmarked = np.zeros(0, np.float32)
        with torch.cuda.stream(gpu_stream):
            self._encoder = StreamingEncoder(net)
            self._unframed = torch.zeros(self._early, device=net.device)
            self._spectra = self._frames.spectra(self._unframed)[:, : self._encoder.bins]
            self._overlap = torch.zeros(self._frames.length - self._frames.hop, device=net.device)
        self._is_finished = False

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next piece `(n,)`; return the samples that can be marked now, possibly none."""
        if self._is_finished:
            raise ValueError("the recording is finished")
        self._pushed += len(samples)
        self._unmarked = np.concatenate([self._unmarked, np.asarray(samples, np.float32)])
        return self._advance(samples)

    def finish(self) -> NDArray[np.float32]:
        """Return the remaining samples. In all, as many are returned as were pushed."""
        if self._is_finished:
            raise ValueError("the recording is finished")
        self._is_finished = True
        last_centre = self._pushed // self._frames.hop * self._frames.hop
        silence = last_centre + self._frames.length // 2 - self._pushed
        return self._advance(np.zeros(silence, np.float32))

    def _advance(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode(), torch.cuda.stream(self._gpu_stream):
            return self._advance_on_device(samples)

    def _advance_on_device(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        piece = torch.from_numpy(np.array(samples, np.float32)).to(self._unframed.device)
        self._unframed = torch.cat([self._unframed, piece])
        spectra = self._frames.spectra(self._unframed)
        self._unframed = self._unframed[len(spectra) * self._frames.hop :]
        raised = self._encoder(
            self._frames.levels(spectra)[:, : self._encoder.bins], is_last=self._is_finished
        )
        self._spectra = torch.cat([self._spectra, spectra[:, : self._encoder.bins]])
        due, self._spectra = self._spectra[: len(raised)], self._spectra[len(raised) :]
        if not len(due):
            return np.zeros(0, np.float32)
        return self._add(self._frames.difference(due, raised))

    def _add(self, difference: torch.Tensor) -> NDArray[np.float32]:
        """Add the overlap-added signal of some frames to the samples that are not marked yet."""
        difference[: len(self._overlap)] += self._overlap
        complete = len(difference) if self._is_finished else len(difference) - len(self._overlap)
        self._overlap = difference[complete:]
        early = min(self._early, complete)
        self._early -= early
        mark = difference[early:complete][: len(self._unmarked)].cpu().numpy()
        unmarked, self._unmarked = self._unmarked[: len(mark)], self._unmarked[len(mark) :]
        # Beyond full scale, a conversion to 16-bit integers would clip or wrap around.
        marked: NDArray[np.float32] = np.clip(unmarked + mark, -1.0, 1.0)
        return marked


def _gpu_stream(device: torch.device) -> Any:
    """Return a stream of its own for a GPU, so that nobody's next frame waits for a mark, or None.

    On the stream that the frames are generated on, reading a mark would wait for the next frame.
    """
    if device.type != "cuda":
        return None
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    return stream
