"""What a caller wants to hear, checked before any work is done for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backend.contract import (
    MAX_NEW_TOKENS,
    MAX_SPOKEN_CHARACTERS,
    LanguageNotSupportedError,
    SpeechRequest,
    TextNotSpeakableError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.contract import VoicePrompt

MAX_TEXTS = 16
"""The most texts of one call."""

_HIGHEST_SEED = 2**63 - 1
_LONGEST_NAME = 20  # of a language that is not spoken; the caller may have sent anything


@dataclass(frozen=True, slots=True)
class Wish:
    """A sentence that can be spoken once there is a voice for it.

    Attributes:
        text: What to say.
        language: One that the engine speaks.
        max_new_tokens: The most frames of speech.
        seed: Makes it reproducible.
    """

    text: str = field(repr=False)
    language: str
    max_new_tokens: int
    seed: int | None

    def with_voice(self, prompt: VoicePrompt) -> SpeechRequest:
        """Make it a job for the engine."""
        return SpeechRequest(
            self.text, prompt, self.language, self.seed, max_new_tokens=self.max_new_tokens
        )


@dataclass(frozen=True, slots=True)
class WishRules:
    """What may be wished for.

    Attributes:
        languages: What the engine speaks.
    """

    languages: tuple[str, ...]

    def check_all(
        self, texts: Sequence[str], languages: Sequence[str], max_new_tokens: int, seed: int | None
    ) -> list[Wish]:
        """Check the texts of one call, each with its language.

        Raises what `check` raises, and `TextNotSpeakableError` unless there are 1 to `MAX_TEXTS`.
        """
        if not 1 <= len(texts) <= MAX_TEXTS:
            raise TextNotSpeakableError(f"one call speaks 1 to {MAX_TEXTS} texts")
        if len(languages) != len(texts):
            raise ValueError("there must be one language for each text")
        return [
            self.check(text, language, max_new_tokens, seed)
            for text, language in zip(texts, languages, strict=True)
        ]

    def check(self, text: str, language: str, max_new_tokens: int, seed: int | None) -> Wish:
        """Check one text.

        Args:
            text: 1 to `MAX_SPOKEN_CHARACTERS` characters.
            language: One of `languages`, in any case.
            max_new_tokens: 1 to 2,048 frames of 80 ms.
            seed: Not negative and below 2**63, or None.

        Raises `TextNotSpeakableError` or `LanguageNotSupportedError`, and ValueError for a number
        out of its range.
        """
        if not isinstance(text, str) or not text.strip():
            raise TextNotSpeakableError("there is nothing to say")
        if len(text) > MAX_SPOKEN_CHARACTERS:
            raise TextNotSpeakableError(f"one text has at most {MAX_SPOKEN_CHARACTERS} characters")
        if not 1 <= max_new_tokens <= MAX_NEW_TOKENS:
            raise ValueError(f"max_new_tokens must be from 1 to {MAX_NEW_TOKENS}")
        if seed is not None and not 0 <= seed <= _HIGHEST_SEED:
            raise ValueError(f"seed must be from 0 to {_HIGHEST_SEED}")
        return Wish(text, self._language(language), max_new_tokens, seed)

    def _language(self, asked: str) -> str:
        for language in self.languages:
            if str(asked).casefold() == language.casefold():
                return language
        raise LanguageNotSupportedError(str(asked)[:_LONGEST_NAME], self.languages)
