"""The parts of a loaded model that make codec frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backend.engine.code_predictor import ResidualCodes
from backend.engine.first_codes import FirstCodes
from backend.engine.sampling import Sampling
from backend.engine.talker import Talker

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class ModelParts:
    """The parts of a loaded model that make frames.

    Attributes:
        talker: Reads.
        first_codes: Chooses the first code of each frame.
        residual_codes: Chooses the others.
        code_groups: The codes of a frame.
        text_pad: `(1, hidden)`, what is added to frames when the text is used up.
    """

    talker: Talker
    first_codes: FirstCodes
    residual_codes: ResidualCodes
    code_groups: int
    text_pad: torch.Tensor

    @classmethod
    def of(cls, package_model: Any, text_pad: torch.Tensor) -> ModelParts:
        """Find them in a loaded model.

        Args:
            package_model: The package's `Qwen3TTSModel`.
            text_pad: `RequestLayout.text_pad`.
        """
        defaults = package_model.generate_defaults
        talker, config = package_model.model.talker, package_model.model.config.talker_config
        return cls(
            talker=Talker(talker),
            first_codes=FirstCodes(
                talker,
                Sampling.from_defaults(defaults),
                float(defaults.get("repetition_penalty") or 1.05),
                config.codec_eos_token_id,
            ),
            residual_codes=ResidualCodes(talker, Sampling.from_defaults(defaults, "subtalker_")),
            code_groups=config.num_code_groups,
            text_pad=text_pad,
        )
