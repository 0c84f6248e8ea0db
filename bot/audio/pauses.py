"""Joins sentences with natural pauses, while they are still being generated."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SENTENCE_PAUSE_SECONDS = 0.3
PARAGRAPH_PAUSE_SECONDS = 0.65

MARGIN_SECONDS = 0.06
"""How much near-silence is kept around a sentence, because it holds soft consonants and breath."""

CUT_SECONDS = SENTENCE_PAUSE_SECONDS / 2 - MARGIN_SECONDS
"""A file may be cut this long before the end of a pause. The next sentence's margin follows, so its
first sound comes half a `SENTENCE_PAUSE_SECONDS` after the cut, also between paragraphs."""

_FADE_SECONDS = 0.008
_FRAME_SECONDS = 0.01
_QUIET_RATIO = 10 ** (-42 / 20)
_QUIET_RMS = 12.0
"""In steps of a 16-bit sample: -68 dBFS. Quieter sound never counts as speech."""

Samples = NDArray[np.int16]

_NOTHING: Samples = np.zeros(0, "<i2")


class PauseJoiner:
    """Joins sentences that come in chunks, with pauses as in reading aloud.

    Near-silence around each sentence is trimmed, and a pause of fixed length follows. Samples are
    returned as soon as it is certain that they will not be trimmed:

    - Before the first sound of a sentence, all near-silence except a margin is dropped.
    - After a sound, near-silence is returned up to the length of the pause that would follow
      anyway. Further near-silence is held back until the sentence's next sound, or dropped if none
      comes.

    What counts as near-silence depends on the loudest sound so far. Half a second of samples takes
    a fraction of a millisecond.

    Args:
        sample_rate: The sample rate of all sentences, in Hz.
        silence_before: Seconds of silence before the first sound.

    Attributes:
        had_sound: Whether the sentence that ended last had any sound.
    """

    def __init__(self, sample_rate: int, *, silence_before: float = 0.0) -> None:
        self._sample_rate = sample_rate
        self._fade = _count(_FADE_SECONDS, sample_rate)
        self._frame = _count(_FRAME_SECONDS, sample_rate)
        self._margin = _count(MARGIN_SECONDS, sample_rate)
        # The margins of the sentences on both sides are a part of the audible pause.
        self._sentence_pause = _count(SENTENCE_PAUSE_SECONDS, sample_rate) - 2 * self._margin
        self._paragraph_pause = _count(PARAGRAPH_PAUSE_SECONDS, sample_rate) - 2 * self._margin
        self.had_sound = False
        self._part: Samples = _NOTHING  # less than a frame
        self._loudest = 0.0
        self._anything_sounded = False
        self._last_pause = 0  # after the last sentence with sound, without margins
        self._silence = 0  # that was asked for since the last sentence with sound
        self._silence_before = round(silence_before * sample_rate)
        self._begin_sentence()

    def push(self, pcm: bytes) -> bytes:
        """Take the next chunk of the current sentence; return the samples that are certain."""
        samples = np.concatenate([self._part, np.frombuffer(pcm, "<i2")])
        whole = len(samples) // self._frame * self._frame
        self._part = samples[whole:]
        return self._advance(samples[:whole])

    def end_sentence(
        self, *, pause: bool, ends_paragraph: bool = False, silence: float = 0.0
    ) -> bytes:
        """Finish the current sentence; return its last samples and the pause after it.

        A sentence without sound adds nothing. But if it ends its paragraph, or silence is to follow
        it, it makes the pause before it longer.

        Args:
            pause: Whether another sentence follows.
            ends_paragraph: Whether the pause is a longer one.
            silence: The least length of the pause in seconds, even if nothing follows.
        """
        asked_for = round(silence * self._sample_rate)
        last = self._advance(np.pad(self._part, (0, -len(self._part) % self._frame)))
        if not self._sounds and not self._anything_sounded:
            self._silence_before += asked_for
            asked_for = 0
        self._silence = asked_for if self._sounds else self._silence + asked_for
        usual = self._paragraph_pause if ends_paragraph else self._sentence_pause
        margins = 2 * self._margin if pause else self._margin
        wanted = max(usual if pause else 0, self._silence - margins)
        if self._sounds:
            # Near-silence that was already returned is a part of the pause.
            missing = self._margin + wanted - self._passed
            self._last_pause = wanted
            self._anything_sounded = True
        elif self._last_pause:
            missing = wanted - self._last_pause
            self._last_pause = max(self._last_pause, wanted)
        else:
            missing = 0
        ending = (self._held * np.linspace(1.0, 0.0, len(self._held))).astype("<i2")
        self.had_sound = self._sounds
        self._begin_sentence()
        return last + ending.tobytes() + bytes(2 * max(0, missing))

    def restart_sentence(self) -> None:
        """Drop the current sentence's chunks so far; the next chunk is its first one again."""
        self._begin_sentence()

    def _begin_sentence(self) -> None:
        self._sounds = False
        self._part = _NOTHING
        self._quiet = _NOTHING  # near-silence that is held back
        self._passed = 0  # samples of near-silence that were returned since the last sound
        self._held = _NOTHING  # the last samples, which are faded if nothing follows

    def _advance(self, samples: Samples) -> bytes:
        """Take whole frames; return the samples that are certain."""
        loudness = np.sqrt(np.square(samples.reshape(-1, self._frame), dtype=np.float32).mean(1))
        self._loudest = max(self._loudest, float(loudness.max(initial=0.0)))
        (sounding,) = np.nonzero(loudness > max(_QUIET_RMS, _QUIET_RATIO * self._loudest))
        if not len(sounding):
            return self._take_quiet(samples)
        end = int(sounding[-1] + 1) * self._frame
        if self._sounds:
            sound = np.concatenate([self._quiet, samples[:end]])
        else:
            sound = self._first_sound(samples, int(sounding[0]) * self._frame, end)
        self._sounds = True
        self._quiet, self._passed = _NOTHING, 0
        return self._release(sound) + self._take_quiet(samples[end:])

    def _take_quiet(self, samples: Samples) -> bytes:
        """Take near-silence. Before the first sound it is for the margin, later for the pause."""
        self._quiet = np.concatenate([self._quiet, samples])
        if not self._sounds:
            self._quiet = self._quiet[-self._margin :]
            return b""
        room = max(0, self._margin + self._sentence_pause - self._passed)
        passing, self._quiet = self._quiet[:room], self._quiet[room:]
        self._passed += len(passing)
        return self._release(passing)

    def _first_sound(self, samples: Samples, start: int, end: int) -> Samples:
        """The first sound of a sentence with a margin before it, faded in.

        If there is too little near-silence for the margin, zeros are added. The very first sentence
        gets no zeros, because they would delay its start, unless silence was asked for.
        """
        before = np.concatenate([self._quiet, samples[:start]])[-self._margin :]
        sound = np.concatenate([before, samples[start:end]])
        fade = min(self._fade, len(sound))
        sound[:fade] = sound[:fade] * np.linspace(0.0, 1.0, fade)
        least = self._margin if self._anything_sounded else self._silence_before
        return np.pad(sound, (max(0, least - len(before)), 0))

    def _release(self, samples: Samples) -> bytes:
        """Return samples, but hold back the last few, which are faded if nothing follows."""
        samples = np.concatenate([self._held, samples])
        certain = max(0, len(samples) - self._fade)
        self._held = samples[certain:]
        return samples[:certain].tobytes()


def _count(seconds: float, sample_rate: int) -> int:
    return max(1, round(seconds * sample_rate))
