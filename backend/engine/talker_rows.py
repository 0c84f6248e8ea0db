"""Rows that the talker speaks together, one codec frame at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import DynamicCache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.engine.request_layout import LaidOutRequest
    from backend.engine.residual_codes import ResidualCodes
    from backend.engine.sampling import Sampling

FAILED = -1
"""Stands for the code of a row whose logits were no numbers."""

_LEAST_TOKENS = 2  # as in qwen-tts: speech does not end before
_CONTROL_CODES = 1_024  # as in qwen-tts: the last ids of the vocabulary, of which none is spoken


@dataclass(frozen=True, slots=True)
class Talker:
    """A loaded talker, and how it is to speak.

    Attributes:
        model: The package's `Qwen3TTSTalkerForConditionalGeneration`.
        sampling: How the first code of a frame is chosen, after the other rules are applied.
        repetition_penalty: For first codes that the row has had, as in transformers.
        end_of_speech: The first code that ends a row.
        residual_codes: Completes frames.
        text_pad: `(1, hidden)`, what is added to frames when the text is used up.
    """

    model: Any
    sampling: Sampling
    repetition_penalty: float
    end_of_speech: int
    residual_codes: ResidualCodes
    text_pad: torch.Tensor


class TalkerRows:
    """A batch of rows under way.

    Uses the talker's inner model only, whose calls keep nothing: several batches may take turns.

    Args:
        talker: Speaks.
        requests: One for each row.
        draws: `(rows, frames, code_groups)`, the chance for every frame there can be.
    """

    @torch.inference_mode()
    def __init__(
        self, talker: Talker, requests: Sequence[LaidOutRequest], draws: torch.Tensor
    ) -> None:
        device = talker.text_pad.device
        self._talker = talker
        self._step = 0
        self._draws = draws.to(device)
        self._trailing_text = _pad_right([each.trailing_text for each in requests], talker.text_pad)
        lengths = torch.tensor([[len(each.inputs)] for each in requests], device=device)
        longest = int(lengths.max())
        places = torch.arange(longest + draws.shape[1], device=device)
        self._mask = (places >= longest - lengths).long()
        self._positions = lengths  # of the next frame, `(rows, 1)`
        self._cache = DynamicCache()
        first_positions = (self._mask[:, :longest].cumsum(-1) - 1).clamp(min=0)
        self._hidden = self._read(_pad_left([each.inputs for each in requests]), first_positions)
        codes = talker.model.config.vocab_size
        self._had = torch.zeros(len(requests), codes, dtype=torch.bool, device=device)
        self._never_said = torch.arange(codes, device=device) >= codes - _CONTROL_CODES
        self._never_said[talker.end_of_speech] = False

    @torch.inference_mode()
    def choose_first_codes(self) -> torch.Tensor:
        """Choose each row's first code of the next frame: int64 `(rows,)`.

        It may be the end of speech, or `FAILED`. Call `complete` with the rows that go on.
        """
        logits = self._talker.model.codec_head(self._hidden).float()
        is_sound = logits.isfinite().all(dim=-1)
        penalty = self._talker.repetition_penalty
        penalised = torch.where(logits < 0, logits * penalty, logits / penalty)
        logits = torch.where(self._had, penalised, logits)
        logits = logits.masked_fill(self._never_said, -torch.inf)
        if self._step < _LEAST_TOKENS:
            logits[:, self._talker.end_of_speech] = -torch.inf
        codes = self._talker.sampling.choose(logits, self._draws[:, self._step, 0])
        return codes.where(is_sound, FAILED)

    @torch.inference_mode()
    def keep(self, rows: Sequence[int]) -> None:
        """Drop every row but these, which then count from 0."""
        chosen = torch.tensor(rows, device=self._hidden.device)
        self._draws = self._draws[chosen]
        self._trailing_text = self._trailing_text[chosen]
        self._positions = self._positions[chosen]
        self._mask = self._mask[chosen]
        self._hidden = self._hidden[chosen]
        self._had = self._had[chosen]
        self._cache.batch_select_indices(chosen)

    @torch.inference_mode()
    def complete(self, first_codes: torch.Tensor) -> torch.Tensor:
        """Complete the frame and go on to the next.

        Args:
            first_codes: int64 `(rows,)`, each a spoken code.

        Returns:
            The frame, int64 `(rows, code_groups)`; negative in rows that the model failed on.
        """
        draws = self._draws[:, self._step, 1:]
        frame, embedded = self._talker.residual_codes.predict(self._hidden, first_codes, draws)
        self._had.scatter_(1, first_codes.unsqueeze(1), value=True)
        has_text = self._step < self._trailing_text.shape[1]
        text = self._trailing_text[:, self._step] if has_text else self._talker.text_pad
        self._hidden = self._read((embedded + text).unsqueeze(1), self._positions)
        self._positions = self._positions + 1
        self._step += 1
        return frame

    def _read(self, inputs: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Run the talker's layers; return the last position's `(rows, hidden)`."""
        start = self._cache.get_seq_length()
        end = start + inputs.shape[1]
        output = self._talker.model.model(
            inputs_embeds=inputs,
            attention_mask=self._mask[:, :end],
            position_ids=positions.expand(3, -1, -1),
            past_key_values=self._cache,
            cache_position=torch.arange(start, end, device=inputs.device),
            use_cache=True,
        )
        return output.last_hidden_state[:, -1]  # type: ignore[no-any-return]


def _pad_left(sequences: list[torch.Tensor]) -> torch.Tensor:
    """Stack `(length, hidden)` sequences that end together; zeros fill up."""
    flipped = torch.nn.utils.rnn.pad_sequence(
        [each.flip(0) for each in sequences], batch_first=True
    )
    return flipped.flip(1)


def _pad_right(sequences: list[torch.Tensor], pad: torch.Tensor) -> torch.Tensor:
    """Stack `(length, hidden)` sequences that begin together; `pad`, `(1, hidden)`, fills up."""
    longest = max(len(each) for each in sequences)
    return torch.stack(
        [torch.cat([each, pad.expand(longest - len(each), -1)]) for each in sequences]
    )
