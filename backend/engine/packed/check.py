"""Compares a model with packed weights to the same model in float32, one layer at a time.

In each layer, the same positions pass through a layer with packed weights and through one in
float32. Both start from the same prompt, and each goes on with its own states. So errors add up as
they do when the model speaks. Only one layer is held in float32 at a time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from backend.engine.kv_cache import PrefillView
from backend.engine.layers import RmsNorm, causal_mask, signed_sines
from backend.engine.packed.layer import PackedLayer
from backend.engine.packed.packer import Packer
from backend.weights.formats import WeightFormat

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from backend.engine.packed.stored_matrices import StoredMatrices

WORST_ERROR = 0.2
"""The largest error that states may have, as a share of the states themselves.

With random weights in the published 0.6B shape, which amplify an error from layer to layer, states
are off by 0.11 in int8; in a model of two layers, by 0.02. bfloat16's are a tenth of that. Each bit
less doubles an error, so weights of six bits fail in the published shape. A product that is wrong
in one layer makes errors of about 1.
"""

_TEXT = "The quick brown fox jumps over the lazy dog."
_TEXT_TOKENS = 16
_SPANS = (24, 1, 4, 1, 1)
"""How many positions pass through a layer at once: a prompt, and few as in frames. Products of many
rows and of few are made in other ways."""


@torch.inference_mode()
def states_error(package_model: Any, matrices: StoredMatrices, packer: Packer) -> float:
    """Return the largest error that the states of a short prompt have with packed weights.

    That is the root mean square of the error divided by that of the exact states, over all
    positions: of the talker's states, of the code predictor's, of the logits of their heads, and of
    the projection between the two, if there is one.
    States are taken after the last norm, where heads read them. NaN if any is not finite.

    Args:
        package_model: The package's `Qwen3TTSModel`.
        matrices: Its matrices, none of which is packed yet.
        packer: Packs them in the format.

    Raises what `Packer.pack` raises if torch or the processor lacks the format's products.
    """
    talker = package_model.model.talker
    predictor = talker.code_predictor
    check = _Check(matrices, packer)
    prompt = _prompt(talker, package_model.processor.tokenizer)
    coordinates = torch.arange(len(prompt)).expand(3, 1, -1)
    cosines, sines = (each[0, 0] for each in talker.model.rotary_emb(prompt, coordinates))
    exact = check.states(talker.model, prompt, cosines, sines)
    check.heads([talker.codec_head], exact)
    project = predictor.small_to_mtp_projection
    if isinstance(project, nn.Linear):
        check.heads([project], exact)
    frames = project(exact)
    cosines, sines = (each[0] for each in predictor.model.rotary_emb(frames, coordinates[0]))
    exact = check.states(predictor.model, frames, cosines, sines)
    check.heads(predictor.lm_head, exact)
    return check.worst


class _Check:
    """Compares a format with float32. `worst` is the largest error so far."""

    def __init__(self, matrices: StoredMatrices, packer: Packer) -> None:
        self.worst = 0.0
        self._matrices = matrices
        self._packers = Packer(WeightFormat.FLOAT32), packer

    def states(self, model: Any, inputs: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        """Compare the states `(positions, hidden)` of all layers; return the exact ones."""
        exact = packed = inputs
        rotary = cosines, signed_sines(sines)
        of_exact, of_packed = self._packers
        for layer in model.layers:
            exact = _pass(PackedLayer(layer, of_exact, frees=False), exact, rotary)
            packed = _pass(PackedLayer(layer, of_packed, frees=False), packed, rotary)
            self._matrices.give_back(layer)
        norm = RmsNorm(model.norm.weight, model.norm.variance_epsilon)
        exact = norm(exact)
        self._compare(norm(packed), exact)
        return exact

    def heads(self, heads: Iterable[Any], states: Tensor) -> None:
        """Compare the logits of heads, or what other linear layers make of states."""
        for head in heads:
            exact, packed = (packer.pack(head, frees=False)(states) for packer in self._packers)
            self._compare(packed, exact)
            self._matrices.give_back(head)

    def _compare(self, packed: Tensor, exact: Tensor) -> None:
        # Relative to each position: trained models have positions with very large states, and those
        # would hide errors elsewhere.
        error = (packed - exact).square().mean(dim=1) / exact.square().mean(dim=1)
        share = float(error.mean().sqrt())
        if math.isnan(share) or share > self.worst:
            self.worst = share


def _pass(layer: PackedLayer, hidden: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Pass positions `(positions, hidden)` through a layer, as many at once as `_SPANS` say."""
    keys, values = hidden.new_zeros(2, 1, layer.key_heads, len(hidden), layer.head_dim)
    turns = layer.rotary(*rotary)
    passed = []
    end = 0
    for span in _SPANS:
        start, end = end, end + span
        mask = causal_mask(span, start, layer.queries_per_key, hidden)
        view = PrefillView(keys, values, start, end)
        passed.append(layer(hidden[start:end], 1, turns[start:end], view, mask))
    return torch.cat(passed)


def _prompt(talker: Any, tokenizer: Any) -> Tensor:
    """Embed a text, and codec frames after it, as prompts do: float32 `(positions, hidden)`."""
    tokens = torch.tensor(tokenizer(_TEXT).input_ids[:_TEXT_TOKENS])
    text = talker.text_projection(talker.get_text_embeddings()(tokens).float())
    tables = [talker.get_input_embeddings(), *talker.code_predictor.get_input_embeddings()]
    frames = torch.arange(sum(_SPANS) - len(text))
    embedded = [
        table(frames * (30 + number) % table.num_embeddings)  # any codes will do
        for number, table in enumerate(tables)
    ]
    return torch.cat([text, torch.stack(embedded).sum(dim=0)])
