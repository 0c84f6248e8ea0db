"""The plain package, one request at a time: what our own loop is compared with.

It has the interface of `GenerationLoop`, so everything around it stays the same. But a request's
speech comes only when all of it is made, and requests do not share steps.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from qwen_tts import VoiceClonePromptItem

from backend.contract import SpeechError, SpeechRunsOnError
from backend.engine.interface import SpeechChunk
from backend.engine.row_output import NOTHING, SpeechOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from backend.contract import SpeechRequest
    from backend.engine.interface import ReadRequest, TextLayout
    from backend.voice_prompt import ClonedVoice
    from backend.watermark.watermark import Watermarker


FRAME_SAMPLES = 1_920
_ATTEMPTS = 2
_SEEDS = 2**63


class PackageLoop:
    """Speaks the requests that are added to it one after the other. For one thread.

    Args:
        check: Checks a request if nobody has read it, or raises `SpeechError`. Returns it with what
            the model may read as its text and with the limit that its speech has to end within, and
            its voice.
        package_model: The package's `Qwen3TTSModel`.
        text_layout: Where prompts have their text.
        capacity: The most requests at once.
        watermark: Marks the speech; None leaves it unmarked.
    """

    def __init__(
        self,
        check: Callable[[SpeechRequest | ReadRequest], tuple[SpeechRequest, ClonedVoice]],
        package_model: Any,
        text_layout: TextLayout,
        capacity: int,
        watermark: Watermarker | None,
    ) -> None:
        self._capacity = capacity
        self._check = check
        self._package_model = package_model
        self._text_layout = text_layout
        self._output = SpeechOutput(watermark)
        self._numbers = count()
        self._waiting: dict[int, tuple[SpeechRequest, ClonedVoice]] = {}

    @property
    def rows(self) -> int:
        """How many requests were added and have not ended."""
        return len(self._waiting)

    def add(self, request: SpeechRequest | ReadRequest) -> int:
        """As `GenerationLoop.add`."""
        if self.rows >= self._capacity:
            raise ValueError(f"all {self.rows} rows are in use")
        checked = self._check(request)
        number = next(self._numbers)
        self._waiting[number] = checked
        return number

    def remove(self, number: int) -> None:
        """As `GenerationLoop.remove`."""
        self._waiting.pop(number, None)

    def step(self) -> Iterator[SpeechChunk]:
        """Speak the request that waits longest; yield all of it, and its end."""
        if not self._waiting:
            return
        number = next(iter(self._waiting))
        request, voice = self._waiting.pop(number)
        row = self._output.open()
        try:
            marked = _only(self._output.push([row], [self._speak(request, voice)]))
            yield SpeechChunk(number, marked, is_last=False)
            yield SpeechChunk(number, _only(self._output.finish([row])), is_last=True)
        except SpeechError as error:
            yield SpeechChunk(number, NOTHING, is_last=True, error=error)

    def _speak(self, request: SpeechRequest, voice: ClonedVoice) -> NDArray[np.float32]:
        """Speak a request; raise `SpeechRunsOnError` if its speech has no end twice."""
        item = _prompt_item(voice)
        for attempt in range(_ATTEMPTS):
            seed = request.seed
            torch.manual_seed(torch.seed() if seed is None else (seed + attempt) % _SEEDS)
            # Speech that reaches the limit without an end has one frame less than it allows, the
            # same as speech that ends just in time. So it is allowed one token more.
            (speech,), sample_rate = self._package_model.generate_voice_clone(
                request.text,
                request.language,
                voice_clone_prompt=[item],
                non_streaming_mode=self._text_layout == "before",
                max_new_tokens=request.max_new_tokens + 1,
            )
            if len(speech) < request.max_new_tokens * FRAME_SAMPLES:
                return np.asarray(speech, np.float32)
        raise SpeechRunsOnError(request.max_new_tokens * FRAME_SAMPLES / sample_rate)


def _only(results: Sequence[NDArray[np.float32] | SpeechError]) -> NDArray[np.float32]:
    """Return the samples of the only row, or raise its error."""
    (result,) = results
    if isinstance(result, SpeechError):
        raise result
    return result


def _prompt_item(voice: ClonedVoice) -> VoiceClonePromptItem:
    """Convert a voice to the package's type."""
    in_context = voice.codes is not None and voice.transcript is not None
    codes = torch.tensor(voice.codes, dtype=torch.long) if in_context else None
    return VoiceClonePromptItem(
        ref_code=codes,
        ref_spk_embedding=torch.tensor(voice.speaker_embedding),
        x_vector_only_mode=not in_context,
        icl_mode=in_context,
        ref_text=voice.transcript if in_context else None,
    )
