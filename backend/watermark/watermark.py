"""Marks speech with an inaudible watermark, and finds the watermark in recordings.

The watermark is Perth's (`resemble-perth`): one network raises or lowers each spectral bin up to
2 kHz by at most 6 dB, and another network detects that. Only the difference is added to the speech,
15 dB below it. A recording may come in pieces; the result does not depend on where it is cut.

The mark depends on the 150 ms that follow, so a stream's output is up to
`MarkingStream.DELAY_SECONDS` behind its input. The output is not padded: the first pieces return
fewer samples than were pushed, maybe none, and `finish` returns the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from backend.contract import REFERENCE_SAMPLE_RATE
from backend.watermark.marking import Marker
from backend.watermark.perth import SpectralFrames, load_perth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from backend.watermark.marking import Recording

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
        """Load the networks.

        Raises `BackendUnavailableError` if `resemble-perth` is not installed.
        """
        self._net = load_perth(device)
        self._frames = SpectralFrames(self._net)
        self._marker = Marker(self._net, self._frames)

    def stream(self) -> MarkingStream:
        """Start marking one recording that comes in pieces."""
        return MarkingStream(self, self._marker.open())

    def push(
        self, streams: Sequence[MarkingStream], pieces: Sequence[NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        """Take the next piece of several recordings, as `MarkingStream.push` does of each.

        Recordings are marked together if their pieces and what is kept of them have equal lengths.
        That takes as many operations as one recording alone, and the result is the same.

        Args:
            streams: From `stream`, none of them twice.
            pieces: The next piece of each, `(n,)`.

        Returns:
            The samples of each that can be marked now, possibly none.

        Raises ValueError if a recording is finished or comes twice. If anything is raised, no
        recording has changed.
        """
        return _moved_on(streams, self._marker.push(_recordings(streams), pieces))

    def finish(self, streams: Sequence[MarkingStream]) -> list[NDArray[np.float32]]:
        """Return the remaining samples of several recordings.

        Arguments and errors are those of `push`.
        """
        return _moved_on(streams, self._marker.finish(_recordings(streams)))

    @torch.inference_mode()
    def confidence(self, samples: NDArray[np.float32], *, speed: float = 1.0) -> float:
        """The confidence, from 0 to 1, that a recording or a part of it is marked.

        Reliable for a second or more of speech, also after Ogg/Opus at 24 kbit/s. Silence and noise
        never count as marked, but a steady tone or chord may, also behind speech, because Perth was
        trained on speech. The confidence is 0 for less than `SHORTEST_DETECTION_SECONDS`.

        Args:
            samples: The recording.
            speed: How much faster than it was made it is played, pitch included. The mark is lost
                where the speed is off by 2 %; the tempo alone hardly matters.
        """
        audio = torch.from_numpy(np.array(samples, np.float32)).to(self._net.device)
        shortest = SHORTEST_DETECTION_SECONDS * REFERENCE_SAMPLE_RATE
        slices = [part for part in torch.split(audio, _SLICE) if len(part) >= shortest]
        frames = self._frames if speed == 1.0 else SpectralFrames(self._net, speed=speed)
        return max((self._confidence(part, frames) for part in slices), default=0.0)

    def _confidence(self, audio: torch.Tensor, frames: SpectralFrames) -> float:
        if not audio.any():
            return 0.0  # the network would divide by the number of frames that hold sound
        half = frames.length // 2
        spectra = frames.spectra(functional.pad(audio, (half, half))[None])
        return float(self._net.decoder(frames.levels(spectra).mT).clamp(0, 1))


class MarkingStream:
    """Marks one recording that comes in pieces of any length. Not thread-safe.

    Pieces of 80 ms take three times as long as the whole recording at once. Pieces of 320 ms take
    1.5 times as long.

    Attributes:
        recording: What is known of the recording. Only `Watermarker` uses it.
    """

    DELAY_SECONDS = 0.214
    """The longest delay of the output: a frame and the frames that the network looks ahead."""

    def __init__(self, watermarker: Watermarker, recording: Recording) -> None:
        """Not to be called directly: use `Watermarker.stream`."""
        self._watermarker = watermarker
        self.recording = recording

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next piece `(n,)`; return the samples that can be marked now, possibly none.

        Raises ValueError if the recording is finished.
        """
        (marked,) = self._watermarker.push([self], [samples])
        return marked

    def finish(self) -> NDArray[np.float32]:
        """Return the remaining samples. In all, as many are returned as were pushed.

        Raises ValueError if the recording is finished.
        """
        (marked,) = self._watermarker.finish([self])
        return marked


def _recordings(streams: Sequence[MarkingStream]) -> list[Recording]:
    if len(set(streams)) < len(streams):
        raise ValueError("a recording comes twice")
    return [each.recording for each in streams]


def _moved_on(
    streams: Sequence[MarkingStream], advanced: Sequence[tuple[Recording, NDArray[np.float32]]]
) -> list[NDArray[np.float32]]:
    """Let streams be where their recordings are now; return what was marked of each."""
    for stream, (recording, _) in zip(streams, advanced, strict=True):
        stream.recording = recording
    return [marked for _, marked in advanced]
