"""The plain package, one sentence at a time: the referee that our own loop is compared with.

It has the face of `FrameLoop`, so that everything around it stays the same, but nothing is heard of
a sentence before all of it is made, and nobody shares a step with it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from qwen_tts import VoiceClonePromptItem

from backend.contract import GenerationFailedError, SpeechRunsOnError
from backend.engine.interface import SpeechChunk
from backend.engine.row_output import RowOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from backend.contract import SpeechRequest
    from backend.voice_prompt import ClonedVoice
    from backend.watermark.watermark import Watermarker

FRAME_SAMPLES = 1_920

_ATTEMPTS = 2
_SEEDS = 2**63
_NOTHING = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class PackageSentence:
    """A job that was checked.

    Attributes:
        text: What to say, without anything that controls the model.
        language: In which language.
        voice: Whom to say it as.
        seed: Where its chance comes from; None is the system.
        most_tokens: It has to end within so many, the end of speech among them.
    """

    text: str
    language: str
    voice: ClonedVoice
    seed: int | None
    most_tokens: int


class PackageLoop:
    """Speaks the jobs that have joined it one after the other. For one thread.

    Args:
        check: Checks a job, or raises `SpeechError`.
        package_model: The package's `Qwen3TTSModel`.
        capacity: The most jobs at once.
        watermark: Marks what is spoken, or None.

    Attributes:
        capacity: The same.
    """

    def __init__(
        self,
        check: Callable[[SpeechRequest], PackageSentence],
        package_model: Any,
        *,
        capacity: int,
        watermark: Watermarker | None,
    ) -> None:
        self.capacity = capacity
        self._check = check
        self._package_model = package_model
        self._watermark = watermark
        self._numbers = count()
        self._sentences: OrderedDict[int, PackageSentence] = OrderedDict()

    @property
    def rows(self) -> int:
        """How many jobs have joined and are not over."""
        return len(self._sentences)

    def join(self, job: SpeechRequest) -> int:
        """As `FrameLoop.join`."""
        if self.rows >= self.capacity:
            raise ValueError(f"{self.rows} jobs are under way already")
        sentence = self._check(job)
        number = next(self._numbers)
        self._sentences[number] = sentence
        return number

    def leave(self, number: int) -> None:
        """As `FrameLoop.leave`."""
        self._sentences.pop(number, None)

    def step(self) -> Iterator[SpeechChunk]:
        """Speak the job that waits longest; give all of it, and its end."""
        if not self._sentences:
            return
        number, sentence = self._sentences.popitem(last=False)
        output = RowOutput(self._watermark)
        try:
            yield SpeechChunk(number, output.take(self._speak(sentence)), is_last=False)
            yield SpeechChunk(number, output.finish(), is_last=True)
        except (GenerationFailedError, SpeechRunsOnError) as error:
            yield SpeechChunk(number, _NOTHING, is_last=True, error=error)

    def _speak(self, sentence: PackageSentence) -> NDArray[np.float32]:
        """Speak a sentence; raise `SpeechRunsOnError` if it finds no end twice."""
        item = _prompt_item(sentence.voice)
        for attempt in range(_ATTEMPTS):
            seed = sentence.seed
            torch.manual_seed(torch.seed() if seed is None else (seed + attempt) % _SEEDS)
            # Without an end it makes a frame less than its bound, as it does with one in time.
            (speech,), sample_rate = self._package_model.generate_voice_clone(
                sentence.text,
                sentence.language,
                voice_clone_prompt=[item],
                max_new_tokens=sentence.most_tokens + 1,
            )
            if len(speech) < sentence.most_tokens * FRAME_SAMPLES:
                return np.asarray(speech, np.float32)
        raise SpeechRunsOnError(sentence.most_tokens * FRAME_SAMPLES / sample_rate)


def _prompt_item(voice: ClonedVoice) -> VoiceClonePromptItem:
    """Give a voice as the package has it."""
    in_context = voice.codes is not None and voice.transcript is not None
    codes = torch.tensor(voice.codes, dtype=torch.long) if in_context else None
    return VoiceClonePromptItem(
        ref_code=codes,
        ref_spk_embedding=torch.tensor(voice.speaker_embedding),
        x_vector_only_mode=not in_context,
        icl_mode=in_context,
        ref_text=voice.transcript if in_context else None,
    )
