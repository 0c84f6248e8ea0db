"""Runs the parts of an engine separately: its language model and its codec."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from backend.contract import SpeechRequest
from backend.engine.batch import Batch, Row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from backend.contract import VoicePrompt
    from backend.engine.engine import Engine
    from backend.engine.prompt_embeds import PreparedRequest

SEED = 1
"""Always the same, so that the speech always has the same length."""

SAMPLES_A_FRAME = 1_920


@dataclass(frozen=True, slots=True)
class LanguageRun:
    """One request through the language model: talker and code predictor.

    Attributes:
        prompt_seconds: The time until the prefill was complete and the first code sampled.
        frame_seconds: The time for each frame after that.
    """

    prompt_seconds: float
    frame_seconds: list[float]

    @property
    def seconds(self) -> float:
        """The total time."""
        return self.prompt_seconds + sum(self.frame_seconds)


class EngineParts:
    """An engine, and a voice for its requests. Not thread-safe.

    Args:
        engine: An idle engine without a watermark, because the package has none.
        prompt: The voice, in in-context mode.

    Attributes:
        talker: The package's `Qwen3TTSTalkerForConditionalGeneration`.
        code_groups: The codes of a frame.
        codebook_size: Each code is below this.
    """

    def __init__(self, engine: Engine, prompt: VoicePrompt) -> None:
        self._engine = engine
        self._prompt = prompt
        model: Any = engine.package_model.model
        self.talker = model.talker
        self.code_groups: int = model.config.talker_config.num_code_groups
        self.codebook_size: int = model.speech_tokenizer.config.decoder_config.codebook_size
        self._codec = engine.codec

    @torch.inference_mode()
    def run_language(self, text: str, frames: int) -> LanguageRun:
        """Generate at most this many codec frames of a text, without decoding them."""
        laps = [time.perf_counter()]
        limit = frames + 1
        step = self._engine.step
        if step is None:
            raise ValueError("the package's own loop does not decode rows")
        batch = Batch[Row](step, rows=1, graphs=self._engine.graphs)
        batch.add(Row(replace(self._prepare(text), max_tokens=limit)))
        codes = batch.next_codes()
        while not codes:
            codes = batch.next_codes()
        laps.append(time.perf_counter())
        while len(laps) < frames + 2 and codes[0][1] != batch.end_of_speech:
            batch.decode_step()
            codes = batch.next_codes()
            laps.append(time.perf_counter())
        prompt_seconds, *frame_seconds = [end - start for start, end in pairwise(laps)]
        return LanguageRun(prompt_seconds, frame_seconds)

    def run(self, text: str, frames: int, rows: int = 1) -> tuple[int, float]:
        """Generate and decode speech.

        Args:
            text: What every row says.
            frames: The most frames of a row, nearly.
            rows: How many rows there are.

        Returns:
            The frames of all rows, and the seconds.
        """
        began = time.perf_counter()
        loop = self._engine.open(rows)
        for number in range(rows):
            loop.add(SpeechRequest(text, self._prompt, seed=SEED + number))
        samples = 0
        while loop.rows and samples < rows * frames * SAMPLES_A_FRAME:
            samples += sum(len(chunk.samples) for chunk in loop.step())
        return samples // SAMPLES_A_FRAME, time.perf_counter() - began

    def decode_in_pieces(self, pieces: Sequence[torch.Tensor]) -> None:
        """Decode speech that follows no reference, each piece int64 `(1, frames, code_groups)`."""
        row = self._codec.open(torch.zeros(0, self.code_groups, dtype=torch.long))
        for piece in pieces:
            samples = self._codec.begin_reading(self._codec.decode([row], piece))
            samples.wait()
        self._codec.close(row)

    def random_codes(self, frames: int) -> torch.Tensor:
        """Random codec frames: int64 `(1, frames, code_groups)`."""
        generator = torch.Generator().manual_seed(frames)
        shape = (1, frames, self.code_groups)
        return torch.randint(self.codebook_size, shape, generator=generator).to(self.talker.device)

    def decode_reference(self, text: str, shift: int) -> None:
        """Decode the voice's reference, with its frames shifted so that it is not cached."""
        row = self._codec.open(self._prepare(text).reference_codes.roll(shift, 0))
        self._codec.close(row)

    def _prepare(self, text: str) -> PreparedRequest:
        request = SpeechRequest(text, self._prompt, seed=SEED)
        return self._engine.prepare(request)
