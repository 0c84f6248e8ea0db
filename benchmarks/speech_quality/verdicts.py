"""What is found in a reference clip, and in one speech; and who finds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.speech_quality.speaking import Line, Speech


@dataclass(frozen=True, slots=True)
class Voice:
    """A reference clip, as the judge knows it.

    Attributes:
        key: The recording's key.
        transcript: What is said in it: what was given, else what Whisper heard.
        rate: Syllables per second of speech, without pauses.
        pace: Syllables per second from the first word to the last, with pauses.
        embedding: `(256,)`, of the whole clip.
        halves: How alike the encoder finds the clip's two halves: about the best that a clone can
            reach.
        words: How many words the transcript has.
        word_errors: How many of them Whisper got wrong; None without a given transcript.
    """

    key: str
    transcript: str = field(repr=False)
    rate: float
    pace: float
    embedding: NDArray[np.float32] = field(repr=False)
    halves: float
    words: int
    word_errors: int | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found in one speech.

    Attributes:
        voice: The recording's key.
        sentence: What should have been said.
        take: Which attempt it is.
        problem: Why there is no speech, or None. The rest is 0 then, except `runaway`.
        heard: What Whisper heard in its first 30 s.
        words: How many words the sentence has.
        word_errors: How many of them were wrong, missing, or too many.
        similarity: To the voice's reference clip, from 0 to 1.
        rate: Syllables of the sentence per second of speech, over the same of the reference.
        seconds: Its length, as it was made.
        expected: The seconds that the sentence takes at the reference's pace.
        runaway: Whether it did not end at the first attempt, or is far too long.
        echo: Whether it begins with the reference's last words.
    """

    voice: str
    sentence: str
    take: int
    problem: str | None = None
    heard: str = ""
    words: int = 0
    word_errors: int = 0
    similarity: float = 0.0
    rate: float = 0.0
    seconds: float = 0.0
    expected: float = 0.0
    runaway: bool = False
    echo: bool = False


class Listener(Protocol):
    """Listens to clips and speech, such as `benchmarks.speech_quality.judging.Judge`."""

    def hear(self, samples: NDArray[np.float32]) -> str:
        """Write down what is said."""

    def describe(self, key: str, clip: NDArray[np.float32], transcript: str | None) -> Voice:
        """Measure a reference clip. Raises `CannotMeasureError` if it cannot be used."""

    def judge(self, line: Line, speech: Speech, voice: Voice) -> Verdict:
        """Compare a speech with what it should say, and with the voice that it should have."""
