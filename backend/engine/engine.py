"""One loaded model that makes voice prompts and speaks."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from backend.consent import read_consent
from backend.contract import (
    MAX_NEW_TOKENS,
    MAX_TRANSCRIPT_CHARACTERS,
    REFERENCE_SAMPLE_RATE,
    ConsentMissingError,
    ReferenceUnusableError,
    SpeechRequest,
    TextNotSpeakableError,
    VoicePrompt,
    check_request,
)
from backend.engine.batch import Batch
from backend.engine.chunk_plan import plan_for
from backend.engine.clone import clone_voice
from backend.engine.codec.decoder import CodecDecoder
from backend.engine.codec.graphs import usual_calls
from backend.engine.codec.network import CodecNetwork
from backend.engine.codec.thread import spare_thread
from backend.engine.cuda_graphs import CudaGraphRecorder
from backend.engine.decode_step import DecodeStep
from backend.engine.failures import is_context_lost
from backend.engine.freed_memory import give_back_freed_memory
from backend.engine.generation import GenerationLoop
from backend.engine.interface import ReadRequest
from backend.engine.kv_cache import ROW_POSITIONS
from backend.engine.loading import ModelParts
from backend.engine.package_loop import PackageLoop
from backend.engine.prefill_step import usual_prompts
from backend.engine.prompt_embeds import PreparedRequest, PromptEmbedder
from backend.engine.room import fitted, rows_with_room
from backend.engine.speech_length import token_limit
from backend.engine.speech_row import SpeechRow
from backend.engine.step_graphs import capture_steps, usual_sizes
from backend.voice_prompt import PromptModel, read_voice_prompt, write_voice_prompt

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from backend.contract import ConsentRecord
    from backend.engine.interface import EngineInfo, TextLayout
    from backend.engine.step_graphs import StepGraphs
    from backend.voice_prompt import ClonedVoice
    from backend.watermark.watermark import Watermarker

log = logging.getLogger(__name__)


class Engine:
    """A loaded model. For one thread at a time, except `read`, and with one loop at a time.

    The memory for all rows is allocated here, and the decode step's graphs are captured, so that
    nothing of that is left to do while somebody listens.

    Args:
        package_model: The package's model, as `load_model` gives it.
        info: What was loaded, as `load_model` says.
        watermark: Marks every waveform. None is for measurements only: speech that people hear has
            to be marked.
        require_consent: Whether a voice prompt needs a consent record, to be made and to be spoken
            with. False is for an operator's own private use.
        text_layout: Where prompts have their text.
        cuda_graphs: Whether a GPU's work is captured and replayed, where that works.
        reserved_bytes: What of the GPU's memory others will need that are not loaded yet.

    Attributes:
        package_model: The package's model, whose weights are used.
        prompt_model: What voice prompts have to be made for.
        embedder: Makes prompt embeddings.
        parts: The parts of the model that a batch needs.
        codec: Decodes frames into samples.
        codec_thread: Decodes beside the language model, on a processor with a core to spare.
        step: Decodes a frame of all rows, in memory of its own. None for the package's loop.
        graphs: The captured sizes of the step, where CUDA graphs work; else None.
        sample_rate: Of all audio, in Hz.
        rows: How many requests can be spoken at once: as many as there is memory for.
    """

    sample_rate = REFERENCE_SAMPLE_RATE

    def __init__(  # noqa: PLR0913 - independent options
        self,
        package_model: Any,
        info: EngineInfo,
        *,
        watermark: Watermarker | None,
        require_consent: bool = True,
        text_layout: TextLayout = "before",
        cuda_graphs: bool = True,
        reserved_bytes: int = 0,
    ) -> None:
        self.package_model = package_model
        self._require_consent = require_consent
        config = self.package_model.model.config.talker_config
        self.prompt_model = PromptModel(
            info.model_id,
            info.revision,
            dimension=config.hidden_size,
            code_groups=config.num_code_groups,
            codebook_size=self.package_model.model.speech_tokenizer.config.decoder_config.codebook_size,
        )
        self.embedder = PromptEmbedder(
            self.package_model.model, package_model.processor.tokenizer, text_layout
        )
        self._watermark = watermark
        self._is_plain = info.loop == "reference"
        device = self.embedder.text_pad.device
        # Before anything is divided among the language model's threads.
        is_beside = device.type == "cpu" and not self._is_plain
        self.codec_thread = spare_thread() if is_beside else None
        self.parts = ModelParts.of(
            package_model,
            self.embedder.text_pad,
            self.embedder.codec_embeddings,
            info.packed_as,
        )
        self._plan = plan_for(device)
        self.rows = rows_with_room(self.parts.talker.cache_shape, device, reserved_bytes)
        decoder = self.package_model.model.speech_tokenizer.model.decoder
        if self._is_plain:  # the package's loop uses the decoder itself
            self.codec = CodecDecoder(decoder, 1, CodecNetwork(decoder))
        else:
            self.codec = CodecDecoder(decoder, self.rows)
        self.step: DecodeStep | None = None
        self.graphs: StepGraphs | None = None
        reason = "the reference loop has none"
        if not self._is_plain:
            self.step = DecodeStep(
                self.parts, rows=self.rows, positions=ROW_POSITIONS, max_tokens=MAX_NEW_TOKENS
            )
            self.graphs, reason = self._capture(self.step, device, is_wanted=cuda_graphs)
        self._info = replace(
            info,
            text_layout=text_layout,
            cuda_graphs=self.graphs is not None,
            cuda_graphs_reason=reason,
        )
        give_back_freed_memory()
        log.info("loaded %s", self._info)

    def info(self) -> EngineInfo:
        """Return what is loaded, and on what."""
        return self._info

    def make_prompt(
        self, samples: NDArray[np.float32], transcript: str | None, consent: ConsentRecord | None
    ) -> VoicePrompt:
        """Make a voice prompt from a reference clip.

        Args:
            samples: Mono float32 `(n,)` in [-1, 1] at `sample_rate`, 3 to 30 s.
            transcript: Exactly what is said in it, which makes for the closest likeness; None
                takes the voice alone (x-vector mode).
            consent: Who attested that the voice may be cloned.

        Returns:
            Some kilobytes, which `backend.voice_prompt` reads.

        Raises `ConsentMissingError`, or `ReferenceUnusableError` if the clip cannot be used.
        """
        record = read_consent(consent, is_required=self._require_consent)
        words = self._checked_transcript(transcript)
        voice = clone_voice(self.package_model.model, samples, words, record)
        return VoicePrompt(write_voice_prompt(voice, self.prompt_model), self._info.model_id)

    def open(self, rows: int) -> GenerationLoop | PackageLoop:
        """Return a loop that speaks requests, which may be added and removed at any time.

        The loop that was opened before cannot be used any more.

        Args:
            rows: The most that are spoken at once, 1 to `Engine.rows`.

        Raises ValueError if that is out of bounds.
        """
        if not 1 <= rows <= self.rows:
            raise ValueError(f"{rows} rows, but there may be one at least and at most {self.rows}")
        if self.step is None:
            prepare = self._prepare_for_package
            layout = self._info.text_layout
            return PackageLoop(prepare, self.package_model, layout, rows, self._watermark)
        batch = Batch[SpeechRow](self.step, rows=rows, graphs=self.graphs)
        return GenerationLoop(
            self.prepare, batch, self.codec, self._watermark, self._plan, beside=self.codec_thread
        )

    def _capture(
        self, step: DecodeStep, device: torch.device, *, is_wanted: bool
    ) -> tuple[StepGraphs | None, str]:
        """Capture the usual sizes of steps and of the codec's calls; say which, or why not."""
        if not is_wanted:
            return None, "switched off"
        if device.type != "cuda":
            return None, "there is no GPU"
        graphs, reason = _capture_steps(step)
        calls = usual_calls(self._plan, self.rows)
        told = self.codec.capture(CudaGraphRecorder(is_urgent=False), calls)
        return graphs, f"{reason}; codec: {told}"

    def _checked_transcript(self, transcript: str | None) -> str | None:
        """Refuse now what would make every later request with the voice fail."""
        words = (transcript or "").strip()
        if not words:
            return None
        if len(words) > MAX_TRANSCRIPT_CHARACTERS:
            raise ReferenceUnusableError("its transcript is too long")
        try:
            self.embedder.tokenize(words)
        except TextNotSpeakableError:
            raise ReferenceUnusableError("its transcript holds no words") from None
        return words.encode("utf-8", "ignore").decode("utf-8")

    def read(self, request: SpeechRequest) -> ReadRequest:
        """Check a request, and read its voice prompt and its texts.

        May be called in any thread, while the model is in use: it takes nothing but the tokenizer.

        Raises `SpeechError` if the request is refused, such as `ConsentMissingError` for a voice
        prompt without a consent record; and ValueError if a number in it is out of range.
        """
        check_request(request, self._info.languages)
        voice = read_voice_prompt(request.prompt.data, self.prompt_model)
        if voice.consent is None and self._require_consent:
            raise ConsentMissingError("the voice prompt holds no consent record")
        if self._is_plain:  # the package's loop changes the tokenizer's padding while it speaks
            return ReadRequest(request, voice)
        return self.embedder.read(request, voice)

    def prepare(self, request: SpeechRequest | ReadRequest) -> PreparedRequest:
        """Make the prompt embeddings of a request. Raises what `read` raises."""
        read = request if isinstance(request, ReadRequest) else self.read(request)
        return fitted(self.embedder.embed(read), ROW_POSITIONS)

    def _prepare_for_package(
        self, request: SpeechRequest | ReadRequest
    ) -> tuple[SpeechRequest, ClonedVoice]:
        """Prepare a request for the package, which makes the prompt embeddings itself."""
        read = request if isinstance(request, ReadRequest) else self.read(request)
        tokens = self.embedder.tokenize(read.request.text)
        limit = token_limit(len(tokens), read.request.max_new_tokens)
        text = self.embedder.text_of(tokens)  # which has no control tokens
        voice = read.voice
        if read.transcript:
            voice = replace(voice, transcript=self.embedder.text_of(list(read.transcript)))
        return replace(read.request, text=text, max_new_tokens=limit), voice


def _capture_steps(step: DecodeStep) -> tuple[StepGraphs | None, str]:
    """Capture a step's usual sizes, and the usual prompts, if that works; say which, or why not."""
    try:
        recorder = CudaGraphRecorder(is_urgent=True)
        graphs = capture_steps(step, recorder, usual_sizes(step.rows, step.positions))
        prompts = step.prefill.capture(recorder, usual_prompts(step.rows))
    except Exception as error:  # without graphs, speech is slower but works
        if is_context_lost(error):
            raise
        step.clear()
        return None, f"capturing failed with {type(error).__name__}"
    return (graphs if graphs.replays else None), f"{graphs}; prompts: {prompts}"
