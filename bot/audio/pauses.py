"""Sentences become one natural stretch of speech while they are still being made.

The rules are those of `bot.audio.joining`, which joins whole sentences: near-silence around a
sentence is trimmed, and a pause follows of the length that somebody reading aloud would make.
"""

from __future__ import annotations

import numpy as np

from bot.audio.joining import (
    FADE_SECONDS,
    FRAME_SECONDS,
    MARGIN_SECONDS,
    PARAGRAPH_PAUSE_SECONDS,
    QUIET_RATIO,
    QUIET_RMS,
    SENTENCE_PAUSE_SECONDS,
    Samples,
)

_NOTHING = np.zeros(0, "<i2")


class StreamJoiner:
    """Joins sentences that come in chunks, and hands on what is certain at once.

    Of each sentence, near-silence before the first sound is left out but for a margin. Near-silence
    after a sound is handed on for as long as the pause that would follow anyway, and kept back
    beyond that, until it is known whether more sound comes. What counts as near-silence depends on
    the loudest sound so far. A chunk of half a second takes a fraction of a millisecond.

    Args:
        sample_rate: Of all sentences, in Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self._fade = _count(FADE_SECONDS, sample_rate)
        self._frame = _count(FRAME_SECONDS, sample_rate)
        self._margin = _count(MARGIN_SECONDS, sample_rate)
        self._pauses = {
            ends_paragraph: _count(seconds, sample_rate) - 2 * self._margin
            for ends_paragraph, seconds in (
                (False, SENTENCE_PAUSE_SECONDS),
                (True, PARAGRAPH_PAUSE_SECONDS),
            )
        }
        self._loudest = 0.0
        self._part: Samples = _NOTHING  # less than a frame
        self._anything_sounded = False
        self._begin_sentence()

    def push(self, pcm: bytes) -> bytes:
        """Take the next chunk of the sentence under way; return what can be heard of it by now."""
        samples = np.concatenate([self._part, np.frombuffer(pcm, "<i2")])
        whole = len(samples) // self._frame * self._frame
        self._part = samples[whole:]
        return self._advance(samples[:whole])

    def end_sentence(self, *, pause: bool, ends_paragraph: bool = False) -> bytes:
        """Finish the sentence under way; return its last samples and the pause after it.

        Args:
            pause: Whether another sentence follows.
            ends_paragraph: Whether the pause is a longer one.
        """
        rest = np.pad(self._part, (0, -len(self._part) % self._frame))
        self._part = _NOTHING
        last = self._advance(rest)
        if not self._sounds:
            self._begin_sentence()
            return last
        # The near-silence that was handed on already is part of the pause that one hears.
        ending = (self._held * np.linspace(1.0, 0.0, len(self._held))).astype("<i2")
        length = self._margin + (self._pauses[ends_paragraph] if pause else 0)
        silence = np.zeros(max(0, length - self._passed), "<i2")
        self._begin_sentence()
        return last + ending.tobytes() + silence.tobytes()

    def restart_sentence(self) -> None:
        """Forget what was pushed of the sentence under way: its next chunk is its first again."""
        self._begin_sentence()

    def _begin_sentence(self) -> None:
        self._sounds = False
        self._part = _NOTHING
        self._quiet = _NOTHING  # near-silence that is kept back
        self._passed = 0  # samples of near-silence that were handed on since the last sound
        self._held = _NOTHING  # as much as is faded if nothing follows

    def _advance(self, samples: Samples) -> bytes:
        """Take whole frames; return what is certain to be heard."""
        loudness = np.sqrt(np.square(samples.reshape(-1, self._frame), dtype=np.float32).mean(1))
        self._loudest = max(self._loudest, float(loudness.max(initial=0.0)))
        (sounding,) = np.nonzero(loudness > max(QUIET_RMS, QUIET_RATIO * self._loudest))
        if not len(sounding):
            return self._after_quiet(samples)
        end = int(sounding[-1] + 1) * self._frame
        if self._sounds:
            heard = np.concatenate([self._quiet, samples[:end]])
        else:
            heard = self._beginning(samples, int(sounding[0]) * self._frame, end)
        self._sounds = True
        self._quiet, self._passed = _NOTHING, 0
        handed_on = self._hand_on(heard)
        return handed_on + self._after_quiet(samples[end:])

    def _after_quiet(self, samples: Samples) -> bytes:
        """Take near-silence: before the first sound for its margin, after it for the pause."""
        self._quiet = np.concatenate([self._quiet, samples])
        if not self._sounds:
            self._quiet = self._quiet[-self._margin :]
            return b""
        room = self._margin + self._pauses[False] - self._passed
        passing, self._quiet = self._quiet[: max(0, room)], self._quiet[max(0, room) :]
        self._passed += len(passing)
        return self._hand_on(passing)

    def _beginning(self, samples: Samples, start: int, end: int) -> Samples:
        """The first sound with a margin before it, faded in.

        Where there is less than a margin to give, silence fills it up, but before the very first
        sentence: somebody is waiting for that one.
        """
        heard = np.concatenate([self._quiet, samples[:start]])[-self._margin :]
        missing = self._margin - len(heard)
        heard = np.concatenate([heard, samples[start:end]])
        fade = min(self._fade, len(heard))
        heard[:fade] = heard[:fade] * np.linspace(0.0, 1.0, fade)
        if self._anything_sounded:
            heard = np.pad(heard, (missing, 0))
        self._anything_sounded = True
        return heard

    def _hand_on(self, samples: Samples) -> bytes:
        """Hand samples on, but for the last few, which would be faded if nothing followed."""
        samples = np.concatenate([self._held, samples])
        certain = max(0, len(samples) - self._fade)
        self._held = samples[certain:]
        return samples[:certain].tobytes()


def _count(seconds: float, sample_rate: int) -> int:
    return max(1, round(seconds * sample_rate))
