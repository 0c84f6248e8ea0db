"""How many frames are decoded to samples at a time: the chunks in which speech is heard."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MOST_FRAMES = 41
"""The most frames of a row that the codec decodes in one piece. With the published codec, which
attends to 71 earlier frames, the keys of a row then have a size that suits a GPU's kernels."""

_HEADROOM = 1.25  # by how much calls can be more than enough


@dataclass(frozen=True, slots=True)
class ChunkPlan:
    """The plan of chunks for one kind of device.

    Attributes:
        first_chunks: How many frames a row's first chunks have.
        later_chunks: How many frames all later chunks have.
        calls: The most calls of the codec between two frames.
        call_frames: The most frames that the codec decodes in one call, of all rows together.
        spare_frames: By how many frames a chunk can be delayed if its listener has enough buffered.
        takes_all: Whether a chunk that is late has all the frames that wait. Otherwise its size is
            always one that was captured.
        captured: For which numbers of frames a row's call is captured, where CUDA graphs work. Any
            number of frames is a sum of a few of them.
    """

    first_chunks: tuple[int, ...]
    later_chunks: int
    calls: int
    call_frames: int
    spare_frames: int
    takes_all: bool
    captured: tuple[int, ...] = ()

    @property
    def chunks(self) -> set[int]:
        """How many frames chunks have."""
        return {*self.first_chunks, self.later_chunks}

    def chunk_frames(self, chunks: int) -> int:
        """Return how many frames a row's next chunk has, after so many chunks."""
        return self.first_chunks[chunks] if chunks < len(self.first_chunks) else self.later_chunks

    def rows_at_once(self, frames: int, rows: int) -> int:
        """Return how many chunks a call may decode: enough to keep up with all rows.

        Args:
            frames: How many frames each chunk has.
            rows: How many rows speak.
        """
        return max(self.call_frames // frames, math.ceil(_HEADROOM * rows / self.later_chunks))


CPU_PLAN = ChunkPlan(
    # The first two are short, 0.32 s of speech each, so that playback can begin soon. The watermark
    # holds back 0.2 s of the first one, so playback begins with the second. After that it never
    # runs dry if a frame takes at most 0.6 times its own duration to generate.
    first_chunks=(4, 4, 8, 12),
    # Shorter chunks need more calls. The overhead of each is as long as decoding five to eight
    # frames.
    later_chunks=20,
    # A call takes longer with more frames, and no row can generate its next frame until it returns.
    calls=1,
    call_frames=40,
    spare_frames=4,
    takes_all=True,
)
"""For a processor, which computes either frames or samples."""

GPU_PLAN = ChunkPlan(
    # The watermark lets go 26 ms of the first chunk (with less, nothing could be heard), 160 ms
    # more with the second, and so on. So playback never runs dry if a frame takes at most 13 ms to
    # generate, and after the second chunk, if it takes at most 31 ms.
    first_chunks=(3, 2, 4),
    later_chunks=8,
    # Calls of the codec run beside the next step, so one for newcomers delays the others little.
    calls=2,
    call_frames=48,
    spare_frames=0,
    takes_all=False,
    captured=(1, 2, 3, 4, 8),
)
"""For a GPU, which generates many frames while one is heard: on an H100 a frame takes 8 ms."""


def plan_for(device: torch.device) -> ChunkPlan:
    """Return the plan for a device."""
    return GPU_PLAN if device.type == "cuda" else CPU_PLAN
