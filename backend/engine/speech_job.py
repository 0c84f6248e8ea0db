"""What the engine is asked to say."""

from __future__ import annotations

from dataclasses import dataclass, field

from backend.contract import AUTO_LANGUAGE

MAX_NEW_TOKENS = 2_048
"""The most frames of one sentence, 164 s. Longer speech drifts from the voice."""


@dataclass(frozen=True, slots=True)
class SpeechJob:
    """One sentence to be spoken.

    Attributes:
        text: What to say, at most `MAX_SPOKEN_CHARACTERS`.
        prompt: The voice, as `Engine.make_prompt` made it.
        language: One of `EngineInfo.languages`.
        seed: The same seed gives the same speech, whoever else speaks at the time. (Rounding
            depends on how many do, and may tip a choice: in float32 one of many thousands, in
            bfloat16 now and then.)
        max_new_tokens: The most frames, which the length of the text limits further.
    """

    text: str = field(repr=False)
    prompt: bytes = field(repr=False)
    language: str = AUTO_LANGUAGE
    seed: int | None = None
    max_new_tokens: int = MAX_NEW_TOKENS
