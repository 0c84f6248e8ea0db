"""Sentences, spoken one by one, become one natural recording."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

SENTENCE_PAUSE_SECONDS = 0.3
PARAGRAPH_PAUSE_SECONDS = 0.65

MARGIN_SECONDS = 0.06
"""What stays of the near-silence around a sentence: soft consonants and breath live there."""

FADE_SECONDS = 0.008
FRAME_SECONDS = 0.01
QUIET_RATIO = 10 ** (-42 / 20)
QUIET_RMS = 12.0
"""In steps of a 16-bit sample: under -68 dBFS nothing is speech, however quiet the rest is."""

Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class JoinedSpeech:
    """A recording made of sentences.

    Attributes:
        pcm: Mono s16le samples; empty if no sentence held sound.
        sample_rate: In Hz.
        breaks: The middle of each pause between sentences, as sample indices.
    """

    pcm: bytes = field(repr=False)
    sample_rate: int
    breaks: tuple[int, ...]

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return len(self.pcm) / 2 / self.sample_rate


class SpeechJoiner:
    """Collects sentences in order and joins them with the pauses of somebody reading aloud.

    Near-silence around a sentence is trimmed, so that every pause has the length it should have,
    whatever the model left there. A sentence of 15 s takes `add` a millisecond or two; `joined`
    copies everything, 20 ms for 6 minutes, so that long speech is joined in a thread.
    """

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._chunks: list[bytes] = []
        self._length = 0
        self._breaks: list[int] = []
        self._paragraph_ended = False

    def add(self, pcm: bytes, *, ends_paragraph: bool = False) -> None:
        """Take the next sentence.

        A sentence without sound adds nothing, except that its paragraph may end with it.

        Args:
            pcm: Mono s16le samples at the joiner's sample rate.
            ends_paragraph: Whether a longer pause follows.
        """
        sentence = self._trimmed(np.frombuffer(pcm, "<i2"))
        if len(sentence):
            if self._chunks:
                self._add_pause()
            self._append(sentence)
            self._paragraph_ended = False
        self._paragraph_ended |= ends_paragraph

    def joined(self) -> JoinedSpeech:
        """Everything added so far, as one recording."""
        return JoinedSpeech(b"".join(self._chunks), self._sample_rate, tuple(self._breaks))

    def _append(self, samples: Samples) -> None:
        self._chunks.append(samples.tobytes())
        self._length += len(samples)

    def _add_pause(self) -> None:
        seconds = PARAGRAPH_PAUSE_SECONDS if self._paragraph_ended else SENTENCE_PAUSE_SECONDS
        # The margins that the sentences on both sides keep are part of the pause that one hears.
        silence = self._samples_in(seconds) - 2 * self._samples_in(MARGIN_SECONDS)
        self._breaks.append(self._length + silence // 2)
        self._append(np.zeros(silence, "<i2"))

    def _trimmed(self, samples: Samples) -> Samples:
        """The part with sound and a margin on each side, faded at its edges."""
        frame = self._samples_in(FRAME_SECONDS)
        frames = np.pad(samples, (0, -len(samples) % frame)).reshape(-1, frame)
        loudness = np.sqrt(np.square(frames, dtype=np.float32).mean(axis=1))
        quiet = max(QUIET_RMS, QUIET_RATIO * float(loudness.max(initial=0.0)))
        (sounding,) = np.nonzero(loudness > quiet)
        if not len(sounding):
            return samples[:0]
        start, end = int(sounding[0]) * frame, min(int(sounding[-1] + 1) * frame, len(samples))
        return self._with_margins(samples, start, end)

    def _with_margins(self, samples: Samples, start: int, end: int) -> Samples:
        """Cut to `start` and `end`, widened by exactly one margin each way.

        Where a recording has less than a margin to give, silence fills it up.
        """
        margin = self._samples_in(MARGIN_SECONDS)
        first, last = max(0, start - margin), min(len(samples), end + margin)
        cut = samples[first:last].copy()
        fade = min(self._samples_in(FADE_SECONDS), len(cut) // 2)
        ramp = np.linspace(0.0, 1.0, fade)
        cut[:fade] = cut[:fade] * ramp
        cut[len(cut) - fade :] = cut[len(cut) - fade :] * ramp[::-1]
        missing = (first - (start - margin), end + margin - last)
        return np.pad(cut, missing)

    def _samples_in(self, seconds: float) -> int:
        return max(1, round(seconds * self._sample_rate))
