"""Runs the plain package for an exact number of frames, and measures the time of its parts."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.plain_service import PlainService


@dataclass(frozen=True, slots=True)
class PackageRun:
    """One call of `generate_voice_clone`.

    Attributes:
        frames: The number of generated frames.
        language_seconds: The time for the codec frames, including the prefill.
        seconds: The total time, including the codec.
    """

    frames: int
    language_seconds: float
    seconds: float


class TimedPackage(PlainService):
    """`generate_voice_clone`, with the time of its language model measured.

    Takes the same arguments as `PlainService`.
    """

    def __init__(self, checkpoint: str, **options: Any) -> None:
        super().__init__(checkpoint, **options)
        self._codes = torch.empty(0, dtype=torch.long)
        self._language_seconds = 0.0
        self._generate_frames = self._model.model.generate
        self._model.model.generate = self._generate_timed

    def run(self, text: str, frames: int) -> PackageRun:
        """Generate and decode at most this many frames of a text."""
        with self._lock:
            began = time.perf_counter()
            self._generate_frames_of(text, "Auto", self._prompt, frames)
            seconds = time.perf_counter() - began
            return PackageRun(len(self._codes), self._language_seconds, seconds)

    def codes(self, text: str, language: str, frames: int, *, is_x_vector: bool) -> torch.Tensor:
        """Generate at most this many frames; return them, int64 `(frames, code_groups)`.

        Args:
            text: The text.
            language: Its language.
            frames: The most frames.
            is_x_vector: Whether the voice alone is taken from the reference, not its words.
        """
        words = None if is_x_vector else self._transcript
        with self._lock:
            prompt = self._model.create_voice_clone_prompt(self._reference, words, is_x_vector)
            self._generate_frames_of(text, language, prompt, frames)
            return self._codes.cpu()

    def decode(self, codes: torch.Tensor) -> None:
        """Decode frames as the package does: int64 `(1, frames, code_groups)`."""
        self._model.model.speech_tokenizer.decode([{"audio_codes": codes[0]}])

    @torch.inference_mode()
    def decode_in_one_pass(self, codes: torch.Tensor) -> None:
        """Decode all frames in one pass."""
        self._model.model.speech_tokenizer.model.decoder(codes.transpose(1, 2)).cpu()

    def _generate_frames_of(self, text: str, language: str, prompt: Any, frames: int) -> None:
        # The package samples codebook 0 of a frame one step before the frame's other codes. So the
        # last token gives no frame.
        self._model.generate_voice_clone(
            text,
            language=language,
            max_new_tokens=frames + 1,
            voice_clone_prompt=prompt,
            non_streaming_mode=True,
        )

    def _generate_timed(self, **inputs: Any) -> Any:
        began = time.perf_counter()
        result = self._generate_frames(**inputs)
        self._language_seconds = time.perf_counter() - began
        self._codes = result[0][0]
        return result
