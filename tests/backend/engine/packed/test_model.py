"""A language model with packed weights: what it says, and that rows don't depend on each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from backend.engine.decode_step import DecodeStep
from backend.engine.loading import ModelParts
from backend.engine.prompt_embeds import PreparedRequest
from backend.weights.formats import WeightFormat
from tests.backend.conftest import load

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from backend.engine.engine import Engine

FRAMES = 12
LENGTHS = (20, 9, 14)
STATE_BOUNDS = {
    WeightFormat.FLOAT32: 1e-5,
    WeightFormat.BFLOAT16: 0.02,
    WeightFormat.INT8: 0.08,
}
"""How far the states of a prompt may be off, as a share of them."""


@pytest.fixture(scope="module", params=list(WeightFormat))
def models(
    request: pytest.FixtureRequest, greedy_checkpoint: Path, greedy_engine: Engine
) -> tuple[ModelParts, ModelParts]:
    """The parts of a model as they are, and the same with packed weights."""
    return greedy_engine.parts, packed(load(greedy_checkpoint), request.param)


def packed(engine: Engine, weights: WeightFormat) -> ModelParts:
    embedder = engine.embedder
    return ModelParts.of(
        engine.package_model, embedder.text_pad, embedder.codec_embeddings, weights
    )


@torch.inference_mode()
def decoded(parts: ModelParts, lengths: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Decode rows together: the states of their prompts, and their codes `(rows, frames, 16)`."""
    step = DecodeStep(parts, rows=len(lengths), positions=64, max_tokens=FRAMES + 2)
    states = []
    for slot, length in enumerate(lengths):
        noise = torch.randn(length, 64, generator=torch.Generator().manual_seed(length))
        nothing = torch.zeros(0, 16, dtype=torch.long)
        request = PreparedRequest(noise, noise[:0], nothing, 1, FRAMES + 2, seed=slot)
        hidden = step.prefill([noise], slot)
        step.start(slot, [request], [step.draw(request, 0).result()], hidden)
        states.append(hidden)
    frames = []
    for frame in range(FRAMES):
        step.run(len(lengths), max(lengths) + 1 + frame)
        frames.append(step.state.codes.clone())
    return torch.cat(states), torch.stack(frames, dim=1)


def test_states_are_nearly_those_of_float32(
    models: tuple[ModelParts, ModelParts], request: Any
) -> None:
    weights = request.node.callspec.params["models"]
    (exact, codes), (ours, our_codes) = (decoded(each, LENGTHS) for each in models)
    error = ((ours - exact).norm(dim=1) / exact.norm(dim=1)).max()
    agreeing = (codes == our_codes).all(dim=2).long().cumprod(dim=1).sum(dim=1).tolist()
    assert ours.dtype == torch.float32
    assert error < STATE_BOUNDS[weights], f"the same codes for {agreeing} frames"
    if weights is WeightFormat.FLOAT32:
        assert agreeing == [FRAMES] * len(LENGTHS)


def test_a_row_says_the_same_alone_and_with_others(
    models: tuple[ModelParts, ModelParts], request: pytest.FixtureRequest
) -> None:
    # With whole numbers as inputs, roundings turn codes that are almost equally likely.
    is_exact = request.node.callspec.params["models"] is not WeightFormat.INT8
    _, parts = models
    states, together = decoded(parts, LENGTHS)
    for row, length in enumerate(LENGTHS):
        state, (alone,) = decoded(parts, (length,))
        torch.testing.assert_close(state[0], states[row], rtol=0, atol=1e-4)
        same = 3 if is_exact else 1
        groups = slice(None) if is_exact else slice(4)
        assert torch.equal(alone[:same, groups], together[row, :same, groups])
