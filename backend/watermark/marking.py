"""The state of recordings that are marked piece by piece, and how a piece changes it.

A GPU takes as long for one short piece as for many, so recordings are marked together. That needs
pieces of equal lengths, and equal lengths of what is kept of the recordings.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from backend.watermark.perth import SpectralFrames, StreamingEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class MarkingShape(NamedTuple):
    """How much is kept of a recording.

    Attributes:
        samples: How many samples there are from the beginning of the next spectral frame on.
        spectra: How many spectral frames wait for the network's output.
        past: How many frames of its input each convolution keeps.
    """

    samples: int
    spectra: int
    past: tuple[int, ...]


class Recording(NamedTuple):
    """A recording between two pieces. It does not change: a piece makes another one of it.

    Attributes:
        shape: How much is kept of it on the device.
        kept: What is kept of it there, in one tensor: `(1, numbers)`.
        unmarked: The samples that are not marked yet.
        early: How many more samples of the mark come before the first of the recording.
        length: How many samples were pushed.
        is_finished: Whether nothing more may be pushed.
    """

    shape: MarkingShape
    kept: torch.Tensor
    unmarked: NDArray[np.float32]
    early: int
    length: int = 0
    is_finished: bool = False


class Marker:
    """Marks pieces of recordings, those with equal lengths together.

    Args:
        net: Perth's networks.
        frames: Cuts speech into frames for them.
    """

    def __init__(self, net: Any, frames: SpectralFrames) -> None:
        self._frames = frames
        self._encoder = StreamingEncoder(net)
        self._device: torch.device = net.device
        self._gpu_stream = _gpu_stream(net.device)
        self._overlap_length = frames.length - frames.hop
        self._new = self._new_recording()

    def open(self) -> Recording:
        """Return a recording of which no piece was pushed."""
        return self._new

    def push(
        self, recordings: Sequence[Recording], pieces: Sequence[NDArray[np.float32]]
    ) -> list[tuple[Recording, NDArray[np.float32]]]:
        """Take the next piece of each recording.

        Args:
            recordings: The recordings.
            pieces: Of each, `(n,)`.

        Returns:
            For each, the recording after the piece, and the samples that can be marked now.

        Raises ValueError if a recording is finished.
        """
        return self._advance(recordings, pieces, is_last=False)

    def finish(
        self, recordings: Sequence[Recording]
    ) -> list[tuple[Recording, NDArray[np.float32]]]:
        """Return each recording as a finished one, and the rest of its samples.

        Raises ValueError if a recording is finished.
        """
        silences = [np.zeros(self._silence_after(each.length), np.float32) for each in recordings]
        return self._advance(recordings, silences, is_last=True)

    def _new_recording(self) -> Recording:
        # Frames are centred on multiples of the hop: the first begins half a frame early.
        early = self._frames.length // 2
        past = self._encoder.first_past
        shape = MarkingShape(early, 0, tuple(each.shape[1] for each in past))
        kept = torch.zeros(1, sum(self._sizes(shape)), device=self._device)
        if self._gpu_stream is not None:
            self._gpu_stream.wait_stream(torch.cuda.current_stream(self._device))
        return Recording(shape, kept, np.zeros(0, np.float32), early)

    def _silence_after(self, length: int) -> int:
        """Return how many samples complete the frames that are centred within a recording."""
        last_centre = length // self._frames.hop * self._frames.hop
        return last_centre + self._frames.length // 2 - length

    def _advance(
        self,
        recordings: Sequence[Recording],
        pieces: Sequence[NDArray[np.float32]],
        *,
        is_last: bool,
    ) -> list[tuple[Recording, NDArray[np.float32]]]:
        if any(each.is_finished for each in recordings):
            raise ValueError("the recording is finished")
        groups: defaultdict[tuple[MarkingShape, int], list[int]] = defaultdict(list)
        for index, (recording, piece) in enumerate(zip(recordings, pieces, strict=True)):
            groups[recording.shape, len(piece)].append(index)
        advanced: dict[int, tuple[Recording, NDArray[np.float32]]] = {}
        with torch.inference_mode(), torch.cuda.stream(self._gpu_stream):
            for (shape, _), indices in groups.items():
                group = [recordings[index] for index in indices]
                samples = np.stack([np.asarray(pieces[i], np.float32) for i in indices])
                rest, kept, marks = self._advance_group(shape, group, samples, is_last=is_last)
                for row, index in enumerate(indices):
                    after = recordings[index]._replace(shape=rest, kept=kept[row])
                    pushed = samples[row, : 0 if is_last else None]
                    advanced[index] = _advanced(after, pushed, marks[row], is_finished=is_last)
        return [advanced[index] for index in range(len(recordings))]

    def _advance_group(
        self,
        shape: MarkingShape,
        recordings: Sequence[Recording],
        pieces: NDArray[np.float32],
        *,
        is_last: bool,
    ) -> tuple[MarkingShape, Sequence[torch.Tensor], NDArray[np.float32]]:
        """Take pieces of equal lengths.

        Args:
            shape: How much is kept of each recording.
            recordings: As in `push`.
            pieces: `(rows, n)`.
            is_last: Whether they are the last ones.

        Returns:
            How much is kept of each from now on, what is kept of each, and what to add to the
            samples that are not marked yet: `(rows, n)`.
        """
        spectra, samples, overlap, past = self._parts(
            torch.cat([each.kept for each in recordings]), shape
        )
        pushed = torch.from_numpy(pieces)
        if self._device.type == "cuda":  # which copies by itself from pinned memory only
            pushed = pushed.pin_memory()
        pushed = pushed.to(self._device, non_blocking=True)
        samples = torch.cat([samples, pushed], dim=1)
        new = self._frames.spectra(samples)[..., : self._encoder.bins]
        samples = samples[:, new.shape[1] * self._frames.hop :]
        raised, past = self._encoder(self._frames.levels(new), past, is_last=is_last)
        spectra = torch.cat([spectra, torch.view_as_real(new)], dim=1)
        count = raised.shape[1]
        due, spectra = spectra[:, :count], spectra[:, count:]
        marks = overlap[:, :0]
        if count:
            difference = self._frames.difference(due, raised)
            difference[:, : self._overlap_length] += overlap
            complete = difference.shape[1] - (0 if is_last else self._overlap_length)
            marks, overlap = difference[:, :complete], difference[:, complete:]
        shape = MarkingShape(
            samples.shape[1], spectra.shape[1], tuple(each.shape[1] for each in past)
        )
        kept = torch.cat(
            [spectra.flatten(1), samples, overlap, *(each.flatten(1) for each in past)], dim=1
        )
        return shape, torch.split(kept, 1), marks.cpu().numpy()

    def _sizes(self, shape: MarkingShape) -> list[int]:
        """Return how many numbers each part of what is kept has."""
        return [
            shape.spectra * self._encoder.bins * 2,
            shape.samples,
            self._overlap_length,
            *(each * self._encoder.hidden for each in shape.past),
        ]

    def _parts(
        self, kept: torch.Tensor, shape: MarkingShape
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """Return the parts of what is kept of some recordings.

        Args:
            kept: `(rows, numbers)`.
            shape: How much is kept of each.

        Returns:
            The spectra `(rows, frames, bins, 2)`, the samples `(rows, n)`, what has been added to
            the next samples so far `(rows, length - hop)`, and the past for each convolution.
        """
        rows = len(kept)
        spectra, samples, overlap, *past = torch.split(kept, self._sizes(shape), dim=1)
        return (
            spectra.view(rows, shape.spectra, self._encoder.bins, 2),
            samples,
            overlap,
            [
                each.view(rows, frames, self._encoder.hidden)
                for each, frames in zip(past, shape.past, strict=True)
            ],
        )


def _advanced(
    recording: Recording,
    piece: NDArray[np.float32],
    mark: NDArray[np.float32],
    *,
    is_finished: bool,
) -> tuple[Recording, NDArray[np.float32]]:
    """Return a recording after a piece, and the samples that are marked now.

    Args:
        recording: The recording, with what is kept of it after the piece.
        piece: `(n,)`.
        mark: What to add to the samples that are not marked yet, `(n,)`.
        is_finished: Whether nothing more may be pushed.
    """
    unmarked = np.concatenate([recording.unmarked, piece])
    early = min(recording.early, len(mark))
    mark = mark[early:][: len(unmarked)]
    # Beyond full scale, a conversion to 16-bit integers would clip or wrap around.
    marked: NDArray[np.float32] = np.clip(unmarked[: len(mark)] + mark, -1.0, 1.0)
    rest = recording._replace(
        unmarked=unmarked[len(mark) :],
        early=recording.early - early,
        length=recording.length + len(piece),
        is_finished=is_finished,
    )
    return rest, marked


def _gpu_stream(device: torch.device) -> Any:
    """Return a stream of its own for a GPU, so that nobody's next frame waits for a mark, or None.

    On the stream that the frames are generated on, reading a mark would wait for the next frame.
    """
    return torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
