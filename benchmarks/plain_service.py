"""The baseline for the engine: the plain package behind a lock, as in a simple service."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import torch
from qwen_tts import Qwen3TTSModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

MAX_NEW_TOKENS = 2_048
"""Under three minutes of speech. The checkpoint's own limit is eleven minutes."""


class PlainService:
    """`generate_voice_clone`, one call at a time, in the text layout that is the engine's default.

    Args:
        checkpoint: A folder, or a name on the hub.
        device: The device, by torch's name.
        dtype: The dtype, by torch's name.
        attention: The attention implementation, by transformers' name.
        reference: The voice: mono samples in -1..1 at 24 kHz, shape (n,).
        transcript: What is said in it.
    """

    def __init__(  # noqa: PLR0913 - everything that has to be the same on both sides
        self,
        checkpoint: str,
        *,
        device: str,
        dtype: str,
        attention: str,
        reference: NDArray[np.float32],
        transcript: str,
    ) -> None:
        self._model = Qwen3TTSModel.from_pretrained(
            checkpoint,
            device_map=device,
            dtype=getattr(torch, dtype),
            attn_implementation=attention,
        )
        self._reference = (reference, 24_000)
        self._transcript = transcript
        self._prompt = self.encode_reference()
        self._lock = threading.Lock()

    def speak_concurrently(self, texts: Sequence[str]) -> float:
        """Request texts all at once; return the seconds of speech per second of time."""
        began = time.perf_counter()
        with ThreadPoolExecutor(len(texts)) as callers:
            seconds = sum(callers.map(self._speak, texts))
        return seconds / (time.perf_counter() - began)

    def seconds_to_whole_file(self, texts: Sequence[str]) -> float:
        """Request one text at a time; return the mean time until playback can begin."""
        began = time.perf_counter()
        for text in texts:
            self._speak(text)
        return (time.perf_counter() - began) / len(texts)

    def speak_from_reference(self, texts: Sequence[str]) -> float:
        """Request one text at a time, and encode the reference for each.

        Returns the seconds of speech per second of time.
        """
        began = time.perf_counter()
        seconds = sum(
            self._generate(text, ref_audio=self._reference, ref_text=self._transcript)
            for text in texts
        )
        return seconds / (time.perf_counter() - began)

    def encode_reference(self) -> Any:
        """Make the package's voice prompt from the reference."""
        return self._model.create_voice_clone_prompt(self._reference, self._transcript)

    def _speak(self, text: str) -> float:
        return self._generate(text, voice_clone_prompt=self._prompt)

    def _generate(self, text: str, **voice: Any) -> float:
        with self._lock:
            waveforms, sample_rate = self._model.generate_voice_clone(
                text,
                language="Auto",
                max_new_tokens=MAX_NEW_TOKENS,
                non_streaming_mode=True,
                **voice,
            )
        return float(len(waveforms[0]) / sample_rate)
