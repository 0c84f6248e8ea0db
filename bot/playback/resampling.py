"""From a model's sample rate to Discord's: mono becomes 48 kHz stereo, chunk by chunk."""

from __future__ import annotations

import numpy as np
import soxr

DISCORD_SAMPLE_RATE = 48_000
"""What Discord's voice channels work at, in Hz."""

_LOUDEST = np.iinfo(np.int16)


class Upsampler:
    """Resamples a stream with memory, so that the seams between chunks cannot be heard.

    What comes out equals a resampling of the whole in one pass, whatever the chunks. soxr keeps
    some 35 ms back until more comes in, or until `flush`. Half a second takes 0.3 ms.

    Args:
        sample_rate: Of what is pushed, in Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        # In floating point, since soxr dithers integers differently for every chunk size.
        self._stream = soxr.ResampleStream(
            sample_rate, DISCORD_SAMPLE_RATE, 1, dtype="float32", quality="HQ"
        )

    def push(self, pcm: bytes) -> bytes:
        """Take mono s16le samples; return what can be told of the result by now, as stereo."""
        return self._resampled(pcm, last=False)

    def flush(self) -> bytes:
        """Return what was kept back. Nothing can be pushed any more."""
        return self._resampled(b"", last=True)

    def _resampled(self, pcm: bytes, *, last: bool) -> bytes:
        samples = np.frombuffer(pcm, "<i2").astype(np.float32)
        resampled = self._stream.resample_chunk(samples, last=last)
        mono = np.rint(resampled).clip(_LOUDEST.min, _LOUDEST.max).astype("<i2")
        return np.repeat(mono, 2).tobytes()
