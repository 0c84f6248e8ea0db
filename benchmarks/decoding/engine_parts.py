"""The engine taken apart: what its talker, its code predictor and its codec take by themselves."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from backend.contract import SpeechRequest
from backend.engine.batch import Decoder
from backend.engine.sampling import draw

if TYPE_CHECKING:
    from typing import Any

    from backend.engine.codec import CodecStream
    from backend.engine.engine import Engine

SEED = 1
"""The same chance each time, so that each time is as long."""

SAMPLES_A_FRAME = 1_920


@dataclass(frozen=True, slots=True)
class LanguageRun:
    """One request through the language model: talker and code predictor.

    Attributes:
        prompt_seconds: Until its prompt was read and the first code chosen.
        frame_seconds: What each frame took after that.
    """

    prompt_seconds: float
    frame_seconds: list[float]

    @property
    def seconds(self) -> float:
        """What all of it took."""
        return self.prompt_seconds + sum(self.frame_seconds)


class EngineParts:
    """An engine, and a voice to ask it with. For one thread.

    Args:
        engine: Idle, and without a watermark, which the package has not either.
        prompt: The voice, in context.

    Attributes:
        talker: The package's `Qwen3TTSTalkerForConditionalGeneration`.
        code_groups: The codes of a frame.
        codebook_size: What each of them is below of.
    """

    def __init__(self, engine: Engine, prompt: bytes) -> None:
        self._engine = engine
        self._prompt = prompt
        model: Any = engine._model  # noqa: SLF001 - to take it apart is what this module is for
        self.talker = model.talker
        self.code_groups: int = model.config.talker_config.num_code_groups
        self.codebook_size: int = model.speech_tokenizer.config.decoder_config.codebook_size
        self._codec = engine._codec  # noqa: SLF001 - as above
        self._parts = engine._parts  # noqa: SLF001 - as above
        self._recorder = engine._recorder  # noqa: SLF001 - as above

    @torch.inference_mode()
    def run_language(self, text: str, frames: int) -> LanguageRun:
        """Make the first so many codec frames of a text, or all if it has fewer."""
        laps = [time.perf_counter()]
        request = self._lay_out(text)
        decoder = Decoder(self._parts, rows=1, frames=frames + 1, recorder=self._recorder)
        decoder.join(request, draw(SEED, 0, (frames + 1, self.code_groups)))
        codes = decoder.choose_first_codes()
        while not codes:
            codes = decoder.choose_first_codes()
        laps.append(time.perf_counter())
        end_of_speech = self._parts.first_codes.end_of_speech
        while len(laps) < frames + 2 and codes[0][1] != end_of_speech:
            decoder.make_frames()
            codes = decoder.choose_first_codes()
            laps.append(time.perf_counter())
        prompt_seconds, *frame_seconds = [end - start for start, end in pairwise(laps)]
        return LanguageRun(prompt_seconds, frame_seconds)

    def run(self, text: str, frames: int) -> tuple[int, float]:
        """Speak the first so many frames of a text, or all; return how many, and the seconds."""
        began = time.perf_counter()
        loop = self._engine.open(1)
        loop.join(SpeechRequest(text, self._prompt, seed=SEED))
        samples = 0
        while loop.rows and samples < frames * SAMPLES_A_FRAME:
            samples += sum(len(chunk.samples) for chunk in loop.step())
        return samples // SAMPLES_A_FRAME, time.perf_counter() - began

    def open_codec(self) -> CodecStream:
        """Begin to decode speech that follows no reference."""
        return self._codec.open(
            torch.zeros(0, self.code_groups, dtype=torch.long, device=self.talker.device)
        )

    def random_codes(self, frames: int) -> torch.Tensor:
        """Some speech, or what the codec takes for it: int64 `(1, frames, code_groups)`."""
        chance = torch.Generator().manual_seed(frames)
        shape = (1, frames, self.code_groups)
        return torch.randint(self.codebook_size, shape, generator=chance).to(self.talker.device)

    def hear_reference(self, text: str, turn: int) -> None:
        """Have the codec hear the voice's reference, with its frames turned so far: another one."""
        self._codec.open(self._lay_out(text).reference_codes.roll(turn, 0))

    def _lay_out(self, text: str) -> Any:
        job = SpeechRequest(text, self._prompt)
        return self._engine._lay_out(job).request  # noqa: SLF001 - as above
