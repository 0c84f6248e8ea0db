"""The first code of each frame, which the talker chooses; one of them ends the speech."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from backend.engine.projection import Projection

if TYPE_CHECKING:
    from backend.engine.sampling import Sampling

FAILED = -1
"""Stands for the code of a row whose logits were no numbers."""

_LEAST_TOKENS = 2  # as in qwen-tts: speech does not end before
_CONTROL_CODES = 1_024  # as in qwen-tts: the last ids of the vocabulary, of which none is spoken


class FirstCodes:
    """Chooses the first codes of frames, for many rows at once.

    Args:
        talker: The package's `Qwen3TTSTalkerForConditionalGeneration`.
        sampling: How a code is chosen, after the other rules are applied.
        repetition_penalty: For codes that a row has had, as in transformers.
        end_of_speech: The code that ends a row.

    Attributes:
        end_of_speech: The same.
        vocabulary: How many codes there are, controls among them.
    """

    def __init__(
        self, talker: Any, sampling: Sampling, repetition_penalty: float, end_of_speech: int
    ) -> None:
        self.end_of_speech = end_of_speech
        self.vocabulary: int = talker.config.vocab_size
        self._head = Projection.of(talker.codec_head)
        self._sampling = sampling
        self._penalty = repetition_penalty
        codes = torch.arange(self.vocabulary, device=talker.device)
        self._is_end = codes == end_of_speech
        self._is_never_said = (codes >= self.vocabulary - _CONTROL_CODES) & ~self._is_end

    def choose(
        self, hidden: torch.Tensor, had: torch.Tensor, frames: torch.Tensor, draws: torch.Tensor
    ) -> torch.Tensor:
        """Choose the first code of each row's next frame.

        Args:
            hidden: `(rows, hidden)`, the talker's states.
            had: bool `(rows, vocabulary)`, the first codes that each row has had.
            frames: int64 `(rows,)`, how many frames each row has made.
            draws: `(rows,)`, uniform in [0, 1).

        Returns:
            int64 `(rows,)`, each a spoken code, the end of speech, or `FAILED`.
        """
        logits = self._head(hidden).float()
        is_sound = logits.isfinite().all(dim=-1)
        penalised = torch.where(logits < 0, logits * self._penalty, logits / self._penalty)
        logits = torch.where(had, penalised, logits)
        is_too_early = (frames < _LEAST_TOKENS).unsqueeze(1)
        logits.masked_fill_(self._is_never_said | (is_too_early & self._is_end), -torch.inf)
        return self._sampling.choose(logits, draws).masked_fill_(~is_sound, FAILED)
