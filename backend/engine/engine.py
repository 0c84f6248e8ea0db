"""One loaded model that makes voice prompts and speaks."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from backend.contract import (
    MAX_NEW_TOKENS,
    MAX_SPOKEN_CHARACTERS,
    MAX_TRANSCRIPT_CHARACTERS,
    REFERENCE_SAMPLE_RATE,
    ConsentMissingError,
    LanguageNotSupportedError,
    ReferenceUnusableError,
    SpeechError,
    SpeechRequest,
    TextNotSpeakableError,
    VoicePrompt,
)
from backend.engine.batch import Decoder
from backend.engine.clone import clone_voice
from backend.engine.codec import CodecDecoder
from backend.engine.cuda_graphs import choose_recorder
from backend.engine.generation import FrameLoop, Sentence
from backend.engine.interface import EngineInfo, SpeechChunk
from backend.engine.kv_cache import MOST_ROWS
from backend.engine.loading import load_model
from backend.engine.model_parts import ModelParts
from backend.engine.package_loop import PackageLoop, PackageSentence
from backend.engine.prompt_embeds import RequestLayout
from backend.voice_prompt import PromptModel, read_voice_prompt, write_voice_prompt
from backend.weights.checkpoints import find_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from backend.contract import ConsentRecord
    from backend.voice_prompt import ClonedVoice
    from backend.watermark.watermark import Watermarker

log = logging.getLogger(__name__)

MAX_ROWS = 64
"""The most sentences that are spoken at once."""

TOKENS_PER_TEXT_TOKEN = 12
LEAST_TOKEN_LIMIT = 192
"""A sentence has to end within `TOKENS_PER_TEXT_TOKEN` for each of its own, but never less than
this. Some 0.3 % of requests never end by themselves, and these bounds, which vLLM-Omni has too, are
well beyond any speech that does."""

_NOTHING = np.zeros(0, np.float32)

SpeakingLoop = FrameLoop | PackageLoop
"""What jobs join to be spoken: our loop, or the package's to compare with."""


class Engine:
    """A loaded model. For one thread at a time; loops and streams may take turns.

    Attributes:
        sample_rate: Of all audio, in Hz.
        rows: How many jobs should be spoken at once at the most: as many as there is memory for.
    """

    sample_rate = REFERENCE_SAMPLE_RATE

    def __init__(  # noqa: PLR0913 - as `load` has it
        self,
        package_model: Any,
        info: EngineInfo,
        *,
        require_consent: bool,
        watermark: Watermarker | None,
        plain_package: bool,
        cuda_graphs: bool,
    ) -> None:
        """Use `Engine.load`."""
        self._package_model = package_model
        self._model = package_model.model
        self._require_consent = require_consent
        config = self._model.config.talker_config
        self._prompt_model = PromptModel(
            info.model_id,
            info.revision,
            dimension=config.hidden_size,
            code_groups=config.num_code_groups,
            codebook_size=self._model.speech_tokenizer.config.decoder_config.codebook_size,
        )
        self._layout = RequestLayout(self._model, package_model.processor.tokenizer)
        self._watermark = watermark
        self._is_plain = plain_package
        self._codec = CodecDecoder(self._model.speech_tokenizer.model.decoder)
        self._parts = ModelParts.of(package_model, self._layout.text_pad)
        self._recorder = choose_recorder(self._parts, is_wanted=cuda_graphs and not plain_package)
        self.rows = _fitting_rows(self._parts)
        self._info = replace(info, cuda_graphs=self._recorder is not None)

    @classmethod
    def load(  # noqa: PLR0913 - each is a choice of its own
        cls,
        checkpoint: Path | str,
        *,
        watermark: Watermarker | None,
        model_id: str | None = None,
        revision: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
        attention: str | None = None,
        require_consent: bool = True,
        plain_package: bool = False,
        cuda_graphs: bool = True,
    ) -> Engine:
        """Load a model, and log what was loaded onto what.

        Args:
            checkpoint: A folder, or the id of a published checkpoint on the hub.
            watermark: Marks every waveform. None is for measurements only: what anybody hears has
                to be marked.
            model_id: Names the weights, where the folder is a copy of published ones. None takes
                the name that `find_checkpoint` gives.
            revision: The commit on the hub, where the weights come from there.
            device: "cuda:0" or "cpu"; None is the first GPU if there is one.
            dtype: "bfloat16", "float32" or "float64" (to compare with); None is what suits the
                device.
            attention: "flash_attention_2", "sdpa" or "eager"; None is the fastest that works.
            require_consent: Whether a voice prompt needs a consent record. False is for an
                operator's own private use.
            plain_package: Speak with the package's own loop, one sentence at a time: to compare.
            cuda_graphs: Whether a GPU's work is recorded and replayed, where that works.

        Raises `UnknownModelError` if `checkpoint` is none, and `BackendUnavailableError` if it
        cannot be loaded.
        """
        package_model, info = load_model(
            checkpoint,
            model_id=model_id or find_checkpoint(str(checkpoint)).model_id,
            revision=revision,
            device=device,
            dtype=dtype,
            attention=attention,
        )
        return cls(
            package_model,
            info,
            require_consent=require_consent,
            watermark=watermark,
            plain_package=plain_package,
            cuda_graphs=cuda_graphs,
        )

    def info(self) -> EngineInfo:
        """Say what is loaded, and on what."""
        return self._info

    def make_prompt(
        self,
        samples: NDArray[np.float32],
        transcript: str | None,
        consent: ConsentRecord | None,
    ) -> VoicePrompt:
        """Make a voice prompt from a reference clip.

        Args:
            samples: Mono float32 `(n,)` in [-1, 1] at `sample_rate`, 3 to 30 s.
            transcript: Exactly what is said in it, which makes for the closest likeness; None
                takes the voice alone (x-vector mode).
            consent: Who attested that the voice may be cloned.

        Returns:
            Some kilobytes, which `backend.voice_prompt` reads.

        Raises `ConsentMissingError`, or `ReferenceUnusableError` if the clip cannot serve.
        """
        if consent is None and self._require_consent:
            raise ConsentMissingError("a voice prompt needs a consent record")
        words = self._checked_transcript(transcript)
        voice = clone_voice(self._model, samples, words, consent)
        return VoicePrompt(write_voice_prompt(voice, self._prompt_model), self._info.model_id)

    def speak_batch(self, jobs: Sequence[SpeechRequest]) -> list[NDArray[np.float32] | SpeechError]:
        """Speak jobs together; give each one's whole speech, float32 `(n,)`, or what kept it."""
        pieces: list[list[NDArray[np.float32]]] = [[] for _ in jobs]
        errors: dict[int, SpeechError] = {}
        for chunk in self.stream(jobs):
            if chunk.restarts:
                pieces[chunk.row].clear()
            pieces[chunk.row].append(chunk.samples)
            if chunk.error is not None:
                errors[chunk.row] = chunk.error
        return [errors.get(row) or np.concatenate(said) for row, said in enumerate(pieces)]

    def stream(
        self,
        jobs: Sequence[SpeechRequest],
        *,
        is_cancelled: Callable[[int], bool] = lambda _row: False,
    ) -> Generator[SpeechChunk, None, None]:
        """Speak jobs that come together, chunk by chunk. Closing the generator stops the work.

        Every job's chunks end with one that `is_last`, unless it was cancelled. A job's error ends
        that job alone. A job that finds no end is spoken anew once, beginning with a chunk that
        `restarts`, and then fails with `SpeechRunsOnError`.

        Args:
            jobs: At most `MAX_ROWS`. They may differ in voice, mode and language.
            is_cancelled: Asked before each frame, with a job's index.

        Raises ValueError if there are too many jobs.
        """
        loop = self.open(max(1, len(jobs)))
        indices: dict[int, int] = {}
        for index, job in enumerate(jobs):
            try:
                indices[loop.join(job)] = index
            except SpeechError as error:
                yield SpeechChunk(index, _NOTHING, is_last=True, error=error)
        while loop.rows:
            for number, index in indices.items():
                if is_cancelled(index):
                    loop.leave(number)
            for chunk in loop.step():
                yield replace(chunk, row=indices[chunk.row])

    def open(self, rows: int) -> SpeakingLoop:
        """Begin to speak: jobs may join what this returns, and leave it, at any time.

        Args:
            rows: The most that are spoken at once, 1 to `MAX_ROWS`.

        Raises ValueError if that is out of bounds.
        """
        if not 1 <= rows <= MAX_ROWS:
            raise ValueError(f"{rows} rows, but there may be one at least and at most {MAX_ROWS}")
        if self._is_plain:
            return PackageLoop(
                self._check, self._package_model, capacity=rows, watermark=self._watermark
            )
        return FrameLoop(
            self._lay_out,
            Decoder(self._parts, rows=rows, frames=MAX_NEW_TOKENS, recorder=self._recorder),
            self._codec,
            end_of_speech=self._parts.first_codes.end_of_speech,
            code_groups=self._parts.code_groups,
            capacity=rows,
            watermark=self._watermark,
        )

    def _checked_transcript(self, transcript: str | None) -> str | None:
        """Refuse at once what would make every later sentence fail."""
        words = (transcript or "").strip()
        if not words:
            return None
        if len(words) > MAX_TRANSCRIPT_CHARACTERS:
            raise ReferenceUnusableError("its transcript is too long")
        try:
            self._layout.tokenize(words)
        except TextNotSpeakableError:
            raise ReferenceUnusableError("its transcript holds no words") from None
        return words.encode("utf-8", "ignore").decode("utf-8")

    def _lay_out(self, job: SpeechRequest) -> Sentence:
        """Check a job and lay it out."""
        voice, tokens = self._read(job)
        request = self._layout.lay_out(tokens, voice, job.language)
        return Sentence(request, job.seed, token_limit(len(tokens), job.max_new_tokens))

    def _check(self, job: SpeechRequest) -> PackageSentence:
        """Check a job for the package, which lays it out itself."""
        voice, tokens = self._read(job)
        return PackageSentence(
            self._layout.text_of(tokens),
            job.language,
            voice,
            job.seed,
            token_limit(len(tokens), job.max_new_tokens),
        )

    def _read(self, job: SpeechRequest) -> tuple[ClonedVoice, list[int]]:
        """Check a job; give its voice, and its text as tokens."""
        if len(job.text) > MAX_SPOKEN_CHARACTERS:
            raise TextNotSpeakableError("the text is too long for one call")
        if job.language not in self._info.languages:
            raise LanguageNotSupportedError(job.language, self._info.languages)
        voice = read_voice_prompt(job.prompt.data, self._prompt_model)
        return voice, self._layout.tokenize(job.text)


def _fitting_rows(parts: ModelParts) -> int:
    device = parts.text_pad.device
    if device.type != "cuda":
        return MOST_ROWS
    free_bytes, _ = torch.cuda.mem_get_info(device)
    rows = parts.talker.new_memory().fitting_rows(free_bytes)
    log.info(
        "%.1f GB of memory are free: %d sentences may be spoken at once", free_bytes / 1e9, rows
    )
    return rows


def token_limit(text_tokens: int, asked: int) -> int:
    """Within how many frames a sentence has to end, the end of speech among them.

    Args:
        text_tokens: How many tokens its text has.
        asked: The job's own limit.
    """
    by_text = max(LEAST_TOKEN_LIMIT, TOKENS_PER_TEXT_TOKEN * text_tokens)
    return max(1, min(asked, by_text, MAX_NEW_TOKENS))
