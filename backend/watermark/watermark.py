"""Mark generated speech with an inaudible watermark, and find the mark again.

The mark is Perth's (`resemble-perth`): a network raises or lowers each spectral bin up to 2 kHz by
at most 6 dB, and another tells whether that was done. Only the difference, 15 dB below the speech,
is added to it. A recording may come in pieces, and comes out the same however it is cut.

What is marked depends on the 150 ms that follow, so a stream runs late by
`MarkingStream.DELAY_SECONDS` of audio. Nothing is filled in: the first pieces give back less, maybe
nothing, and `finish` gives back what is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from backend.watermark.perth import SpectralFrames, StreamingEncoder, load_perth

if TYPE_CHECKING:
    from numpy.typing import NDArray

DETECTION_THRESHOLD = 0.5
"""Confidence from which on a recording counts as marked."""

SHORTEST_DETECTION_SECONDS = 0.3
"""In anything shorter a mark cannot be told from chance."""

_SLICE_SECONDS = 10
"""Longer recordings are marked and searched in slices of this length, which bounds the memory."""

_OTHER_SAMPLE_RATE = 24_000
"""What a recording is brought to before the search, if frames do not fit its own sample rate."""


class Watermarker:
    """Perth's networks, loaded once. They keep no state: threads may share them."""

    def __init__(self, device: str = "cpu") -> None:
        """Load the networks, which takes seconds.

        Raises `BackendUnavailableError` if `resemble-perth` is not installed.
        """
        self._net = load_perth(device)

    def mark(self, samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
        """Mark a whole recording.

        Args:
            samples: Mono `(n,)`, in [-1, 1].
            sample_rate: In Hz, a multiple of 500 above 4000.

        Returns:
            As many samples, in [-1, 1].
        """
        stream = self.stream(sample_rate)
        slice_length = _SLICE_SECONDS * sample_rate
        starts = range(0, len(samples), slice_length)
        marked = [stream.push(samples[start : start + slice_length]) for start in starts]
        return np.concatenate([*marked, stream.finish()])

    def stream(self, sample_rate: int) -> MarkingStream:
        """Start marking one recording that comes in pieces.

        Args:
            sample_rate: In Hz, a multiple of 500 above 4000.
        """
        return MarkingStream(self._net, sample_rate)

    def detect(self, samples: NDArray[np.float32], sample_rate: int) -> bool:
        """Tell whether a recording, or a part of it, is marked.

        Sure in speech of a second or more, also after Ogg/Opus at 24 kbit/s. Silence and noise are
        never taken for marked, but a pure tone may be: Perth learned from speech.

        Args:
            samples: Mono `(n,)`. In less than `SHORTEST_DETECTION_SECONDS` no mark is ever seen.
            sample_rate: In Hz.
        """
        return self.confidence(samples, sample_rate) >= DETECTION_THRESHOLD

    @torch.inference_mode()
    def confidence(self, samples: NDArray[np.float32], sample_rate: int) -> float:
        """How sure it is that a recording is marked, from 0 to 1: the surest slice's figure."""
        audio = torch.from_numpy(np.array(samples, np.float32))
        if not SpectralFrames.fit(self._net, sample_rate):
            from torchaudio.functional import resample  # noqa: PLC0415 - rarely needed

            audio = resample(audio, sample_rate, _OTHER_SAMPLE_RATE)
            sample_rate = _OTHER_SAMPLE_RATE
        frames = SpectralFrames(self._net, sample_rate)
        shortest = SHORTEST_DETECTION_SECONDS * sample_rate
        slices = torch.split(audio.to(self._net.device), _SLICE_SECONDS * sample_rate)
        confidences = [self._confidence(part, frames) for part in slices if len(part) >= shortest]
        return max(confidences, default=0.0)

    def _confidence(self, audio: torch.Tensor, frames: SpectralFrames) -> float:
        if not audio.any():
            return 0.0  # the network would divide by the number of frames that hold sound
        half = frames.length // 2
        levels = frames.levels(frames.spectra(functional.pad(audio, (half, half))))
        return float(self._net.decoder(levels.T[None]).clamp(0, 1))


class MarkingStream:
    """Marks one recording that comes in pieces of any length. For one thread at a time.

    In pieces of 80 ms it costs three times as much as whole, in pieces of 320 ms 1.5 times.
    """

    DELAY_SECONDS = 0.214
    """How much less may have come back than was pushed: a frame, and the network's look-ahead."""

    def __init__(self, net: Any, sample_rate: int) -> None:
        """Use `Watermarker.stream`."""
        self._frames = SpectralFrames(net, sample_rate)
        self._encoder = StreamingEncoder(net)
        # Frames are centred on multiples of the hop: the first begins half a frame early.
        self._early = self._frames.length // 2
        self._pushed = 0
        self._unmarked = np.zeros(0, np.float32)
        self._unframed = torch.zeros(self._early, device=net.device)
        self._spectra = self._frames.spectra(self._unframed)[:, : self._encoder.bins]
        self._overlap = torch.zeros(self._frames.length - self._frames.hop, device=net.device)
        self._is_finished = False

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next piece `(n,)`; return all that can be marked by now, maybe nothing."""
        if self._is_finished:
            raise ValueError("the recording is finished")
        self._pushed += len(samples)
        self._unmarked = np.concatenate([self._unmarked, np.asarray(samples, np.float32)])
        return self._advance(samples)

    def finish(self) -> NDArray[np.float32]:
        """Return the rest: with it, as many samples have come back as were pushed."""
        if self._is_finished:
            raise ValueError("the recording is finished")
        self._is_finished = True
        last_centre = self._pushed // self._frames.hop * self._frames.hop
        silence = last_centre + self._frames.length // 2 - self._pushed
        return self._advance(np.zeros(silence, np.float32))

    @torch.inference_mode()
    def _advance(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
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
        """Add frames' overlapped difference to the samples that waited for it."""
        difference[: len(self._overlap)] += self._overlap
        complete = len(difference) if self._is_finished else len(difference) - len(self._overlap)
        self._overlap = difference[complete:]
        early = min(self._early, complete)
        self._early -= early
        mark = difference[early:complete][: len(self._unmarked)].cpu().numpy()
        unmarked, self._unmarked = self._unmarked[: len(mark)], self._unmarked[len(mark) :]
        # Speech near full scale would clip, or wrap, where it becomes 16-bit.
        marked: NDArray[np.float32] = np.clip(unmarked + mark, -1.0, 1.0)
        return marked
