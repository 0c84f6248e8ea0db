"""How the next code is sampled from the model's logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

FAILED = -1
"""Returned instead of a code whose logits are not finite."""

_SEEDS = 2**64
_LARGEST_UNIFORM = np.float32(1 - 2**-20)
"""Closer to 1, a uniform times a sum of probabilities may be rounded up to that sum."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """The rules for one kind of code: temperature, then top-k, then top-p, as in transformers.

    Attributes:
        do_sample: False takes the likeliest code, and the rest has no effect.
        temperature: Divides the logits.
        top_k: How many of the likeliest codes are kept; 0 keeps all.
        top_p: The likeliest codes are kept until together they have this probability.
    """

    do_sample: bool
    temperature: float
    top_k: int
    top_p: float

    @classmethod
    def from_defaults(cls, defaults: Mapping[str, Any], prefix: str = "") -> Sampling:
        """Read a checkpoint's `generation_config.json`.

        Args:
            defaults: The file's content. Missing values are the defaults of qwen-tts.
            prefix: "subtalker_" for the code predictor.
        """
        given = {name: value for name, value in defaults.items() if value is not None}
        return cls(
            do_sample=bool(given.get(f"{prefix}dosample" if prefix else "do_sample", True)),
            temperature=float(given.get(f"{prefix}temperature", 0.9)),
            top_k=int(given.get(f"{prefix}top_k", 50)),
            top_p=float(given.get(f"{prefix}top_p", 1.0)),
        )

    def sample(self, logits: Tensor, uniforms: Tensor) -> Tensor:
        """Sample a code for each row.

        Args:
            logits: `(rows, codes)`.
            uniforms: `(rows,)`, in [0, 1). A row's code depends on its own logits and uniform only,
                not on other rows and not on the device.

        Returns:
            int64 `(rows,)`.
        """
        if not self.do_sample:
            return logits.argmax(dim=-1)
        logits = logits.float()
        largest, least = self._bounds(logits)
        kept = logits.masked_fill(logits < least, -torch.inf)
        # Not `softmax`, whose kernel takes 14 us for a row on an H100. What it divides by is not
        # needed, because only shares of the sum are.
        weights = kept.sub_(largest).mul_(1 / self.temperature).exp_()
        # The sum runs in the order of the codes, not of their probabilities. Two codes that are
        # almost equally likely swap their ranks when another batch size rounds differently, and
        # the uniform would then pick the other one. Measured: 74 of 1,440,000 codes changed when
        # summed by rank, none when summed by code.
        # The sum is in double precision, because parallel sums on a GPU may decrease from one code
        # to the next (https://github.com/pytorch/pytorch/issues/21780). A uniform in such a gap
        # would pick a code that top-k or top-p had excluded.
        summed = weights.cumsum(dim=-1, dtype=torch.float64)
        reached = summed <= uniforms.unsqueeze(-1) * summed[:, -1:]
        return reached.sum(dim=-1).clamp_(max=logits.shape[-1] - 1)

    def _bounds(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return the largest logit of each row, and the least one that is kept, `(rows, 1)`."""
        count = min(self.top_k or logits.shape[-1], logits.shape[-1])
        is_top_p = self.top_p < 1
        likeliest = logits.topk(count, dim=-1, sorted=is_top_p).values
        if not is_top_p:
            return likeliest.amax(dim=-1, keepdim=True), likeliest.amin(dim=-1, keepdim=True)
        probabilities = torch.softmax(likeliest / self.temperature, dim=-1)
        before = probabilities.cumsum(dim=-1) - probabilities
        kept = (before < self.top_p).sum(dim=-1, keepdim=True)
        # A row whose logits are NaN keeps no code. It fails later, and must not raise here.
        return likeliest[:, :1], likeliest.gather(-1, (kept - 1).clamp_(min=0))


def draw_uniforms(seed: int | None, attempt: int, shape: tuple[int, int]) -> Tensor:
    """Draw all the random numbers that a row may need.

    Without a seed they come from the system's entropy. So they also differ between processes that
    are restored from one memory snapshot, in which torch's own generator would have the same state.

    Args:
        seed: The same seed gives the same numbers.
        attempt: Another attempt with the same seed gives other numbers.
        shape: The most frames of the row, and the codes of a frame.

    Returns:
        float32 `(frames, codes)`, in [0, 1).
    """
    entropy = None if seed is None else (seed % _SEEDS, attempt)
    uniforms = np.random.default_rng(entropy).random(shape, np.float32)
    return torch.from_numpy(np.minimum(uniforms, _LARGEST_UNIFORM))
