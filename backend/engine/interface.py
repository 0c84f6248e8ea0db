"""What the scheduler and the service see of an engine. Importable without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from backend.contract import ConsentRecord, SpeechError, SpeechRequest, VoicePrompt
    from backend.voice_prompt import ClonedVoice
    from backend.weights.formats import WeightFormat

TextLayout = Literal["before", "along"]
"""Where a prompt has its text: all of it before the speech, or a token of it along with each frame
of the reference clip and of the speech.

The package has both. It calls "before" `non_streaming_mode`, and clones with "along" by default.
But upstream users measured that such speech is rushed, and speeds up:
https://github.com/QwenLM/Qwen3-TTS/issues/239."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What is loaded, and on what.

    Attributes:
        model_id: Names the weights; voice prompts are tied to it.
        revision: The commit of the weights on the hub, if they come from there.
        device: "cuda:0" or "cpu".
        device_name: The GPU's name, or "CPU".
        weights: The number format of the language model's weights: "float32", "bfloat16" or "int8".
        weights_reason: Why.
        dtype: What its states are in between its products, "bfloat16" or "float32".
        codec_dtype: What the codec computes with.
        loop: Which loop decodes: "timbre" is ours, "reference" is the package's.
        attention: What that loop's layers use. Ours always use torch's "sdpa"; the package's use
            the first of "flash_attention_2", "sdpa" and "eager" that works.
        codec_attention: The same of the codec's transformer. transformers chooses the package's.
        memory_bytes: What the weights take. On a CPU, a part of them is left in their files.
        load_seconds: How long loading took.
        languages: The subset of `backend.contract.LANGUAGES` it speaks.
        versions: Of the packages that run it.
        text_layout: Where prompts have their text.
        cuda_graphs: Whether decode steps are captured as CUDA graphs and replayed.
        cuda_graphs_reason: Which sizes are, or why none is.
        packed_as: What the matrices are packed as, on a processor; None if they aren't packed.
    """

    model_id: str
    revision: str | None
    device: str
    device_name: str
    weights: str
    weights_reason: str
    dtype: str
    codec_dtype: str
    loop: str
    attention: str
    codec_attention: str
    memory_bytes: int
    load_seconds: float
    languages: tuple[str, ...]
    versions: dict[str, str]
    text_layout: TextLayout = "before"
    cuda_graphs: bool = False
    cuda_graphs_reason: str = ""
    packed_as: WeightFormat | None = None

    def __str__(self) -> str:
        graphs = f"{'on' if self.cuda_graphs else 'off'} ({self.cuda_graphs_reason})"
        return (
            f"{self.model_id} on {self.device_name}: {self.memory_bytes / 1e9:.2f} GB, "
            f"{self.weights} ({self.weights_reason}), "
            f"{self.loop} loop with {self.attention} attention "
            f"({self.codec_dtype} and {self.codec_attention} in the codec), "
            f"text {self.text_layout} the speech, CUDA graphs {graphs}, "
            f"{self.load_seconds:.1f} s"
        )


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A request that was checked, and what was read of it without the model.

    Attributes:
        request: The request.
        voice: The content of its voice prompt.
        tokens: Its text. Empty for the package's loop, which reads the text itself.
        transcript: The tokens of what is said in the reference clip; empty in x-vector mode.
        reference: Names the reference clip, the same for the same frames; empty in x-vector mode.
    """

    request: SpeechRequest
    voice: ClonedVoice = field(repr=False)
    tokens: Sequence[int] = field(default=(), repr=False)
    transcript: Sequence[int] = field(default=(), repr=False)
    reference: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class SpeechChunk:
    """Some speech of one request, or its end.

    Attributes:
        row: The number of the request that it belongs to.
        samples: float32 `(n,)` in [-1, 1]; n may be 0.
        is_last: Whether the request has ended.
        error: Why it has ended, if not because its speech is complete.
        restarts: The first attempt had no end, and this chunk is the first of another: the chunks
            before it have to be dropped.
    """

    row: int
    samples: NDArray[np.float32] = field(repr=False)
    is_last: bool
    error: SpeechError | None = None
    restarts: bool = False


class SpeechLoop(Protocol):
    """Speaks the requests that are added to it, all of them a step at a time. For one thread."""

    def add(self, request: ReadRequest) -> int:
        """Take a request; return the number that its chunks carry. Raises `SpeechError`."""

    def remove(self, number: int) -> None:
        """Give a request up, if it has not ended."""

    def step(self) -> Iterator[SpeechChunk]:
        """Move all requests on by a step; yield the chunks that are ready."""


class SpeechEngine(Protocol):
    """A loaded model that makes voice prompts and speaks, such as `backend.engine.engine.Engine`.

    For one thread, except `read`. `Engine` describes arguments and errors.

    Attributes:
        sample_rate: Of all audio, in Hz.
        rows: How many requests can be spoken at once.
    """

    sample_rate: int
    rows: int

    def info(self) -> EngineInfo:
        """Return what is loaded, and on what."""

    def make_prompt(
        self, samples: NDArray[np.float32], transcript: str | None, consent: ConsentRecord | None
    ) -> VoicePrompt:
        """Make a voice prompt from a reference clip."""

    def read(self, request: SpeechRequest) -> ReadRequest:
        """Check a request and read it, in any thread. Raises `SpeechError`."""

    def open(self, rows: int) -> SpeechLoop:
        """Return a loop that speaks so many requests at once. The one before is of no use then."""
