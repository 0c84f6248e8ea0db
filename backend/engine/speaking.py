"""The parts of a loaded model that speak, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backend.engine.batch import Batch, RowUnderWay
from backend.engine.codec_stream import CodecDecoder
from backend.engine.residual_codes import ResidualCodes
from backend.engine.row_output import RowOutput
from backend.engine.sampling import Sampling, draw
from backend.engine.talker_rows import Talker, TalkerRows

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    import torch

    from backend.engine.batch import Row, SpeechChunk
    from backend.watermark import Watermarker


class Speaker:
    """The parts of a loaded model that speak.

    Args:
        model: The package's `Qwen3TTSForConditionalGeneration`.
        generation_defaults: The checkpoint's `generation_config.json`.
        text_pad: `RequestLayout.text_pad`.
        watermark: Marks what is spoken, or None.

    Attributes:
        codec: Makes frames sound.
    """

    def __init__(
        self,
        model: Any,
        generation_defaults: Mapping[str, Any],
        text_pad: torch.Tensor,
        watermark: Watermarker | None,
    ) -> None:
        self.codec = CodecDecoder(model.speech_tokenizer.model.decoder)
        self._watermark = watermark
        self._code_groups = model.config.talker_config.num_code_groups
        self._talker = Talker(
            model=model.talker,
            sampling=Sampling.from_defaults(generation_defaults),
            repetition_penalty=float(generation_defaults.get("repetition_penalty") or 1.05),
            end_of_speech=model.config.talker_config.codec_eos_token_id,
            residual_codes=ResidualCodes(
                model.talker, Sampling.from_defaults(generation_defaults, "subtalker_")
            ),
            text_pad=text_pad,
        )

    def speak(
        self, rows: Sequence[Row], attempt: int, is_cancelled: Callable[[int], bool]
    ) -> Generator[SpeechChunk, None, list[Row]]:
        """Speak a batch, chunk by chunk.

        Args:
            rows: At least one.
            attempt: 0, or 1 for rows that are spoken anew.
            is_cancelled: Asked before each frame, with a row's number.

        Returns:
            The rows that found no end within their tokens.
        """
        shape = (max(row.most_tokens for row in rows), self._code_groups)
        draws = draw([row.seed for row in rows], attempt, shape)
        talker = TalkerRows(self._talker, [row.request for row in rows], draws)
        codec = self.codec.open([row.request.reference_codes for row in rows])
        under_way = [RowUnderWay(row, RowOutput(self._watermark), attempt > 0) for row in rows]
        batch = Batch(under_way, talker, codec, self._talker.end_of_speech)
        yield from batch.run(is_cancelled)
        return [each.row for each in batch.ran_on]
