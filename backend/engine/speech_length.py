"""How long the speech of a text may be, and how to tell that it is over without the model's word.

In some 0.3 % of requests the model never samples the end of speech (measured by vLLM-Omni). Most of
them have said their text and go on with near-silence; a few babble.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TOKENS_PER_TEXT_TOKEN = 12
EXTRA_TOKENS = 50
"""The speech of a text may have `TOKENS_PER_TEXT_TOKEN` tokens of 80 ms for each token of the text,
and `EXTRA_TOKENS` more. A token of text is a short word, a part of a long one, a digit, or one or
two Chinese characters: slow speakers take half a second for most, and two for an abbreviation that
is spelled out. So one word has 5 s, and 16 tokens, some 12 words, have 19 s."""

FEWEST_FRAMES_PER_TEXT_TOKEN = 2
"""No one reads faster: 6 tokens of text a second are some 290 words a minute."""

END_SECONDS = 2.4
"""So much near-silence after a complete text is its end. Pauses within a sentence are shorter."""

_END_FRAMES = round(END_SECONDS * 12.5)
_KEPT_FRAMES = 4  # of near-silence after the last sound: the pause at the end of a sentence
_QUIET_RATIO = 10 ** (-42 / 20)  # to the loudest frame, as where the bot trims pauses
_QUIET_LEVEL = 10 ** (-68 / 20)  # of full scale


def token_limit(text_tokens: int, max_new_tokens: int) -> int:
    """Return the most tokens of codebook 0 that a request may have, the end of speech included.

    Args:
        text_tokens: How many tokens its text has.
        max_new_tokens: The request's own limit.
    """
    return min(max_new_tokens, EXTRA_TOKENS + TOKENS_PER_TEXT_TOKEN * text_tokens)


class EndDetector:
    """Notices when the speech of a text is complete and only near-silence has followed.

    Args:
        text_tokens: How many tokens the text has.
    """

    def __init__(self, text_tokens: int) -> None:
        self._fewest = FEWEST_FRAMES_PER_TEXT_TOKEN * text_tokens
        self._frames = 0
        self._last_sound = 0  # how many frames there were up to the last one that was not quiet
        self._loudest = 0.0

    @property
    def is_over(self) -> bool:
        """Whether the speech has ended."""
        is_complete = self._last_sound >= self._fewest
        return is_complete and self._frames - self._last_sound >= _END_FRAMES

    def push(self, samples: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
        """Take the samples of the next `frames` frames; return what of them to keep.

        This is all of them, but for the end of the silence if the speech is over.
        """
        for level in samples.reshape(frames, -1).std(axis=1).tolist():
            self._frames += 1
            self._loudest = max(self._loudest, level)
            if level > max(_QUIET_LEVEL, _QUIET_RATIO * self._loudest):
                self._last_sound = self._frames
        if not self.is_over:
            return samples
        surplus = self._frames - self._last_sound - _KEPT_FRAMES
        return samples[: max(0, frames - surplus) * (len(samples) // frames)]
