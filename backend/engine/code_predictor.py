"""The code predictor: a small model that predicts the residual codes of a frame one by one.

The package calls transformers' `generate` for each frame. At 15 tokens a call, most of the time
goes into the call itself. This loop has the same result, with a KV cache that is allocated once.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from backend.engine.kv_cache import PrefillView
from backend.engine.layers import RmsNorm, TransformerLayer, causal_mask, signed_sines
from backend.engine.packed.layer import PackedLayer
from backend.engine.projection import Projection
from backend.engine.sampling import FAILED

if TYPE_CHECKING:
    from torch import Tensor

    from backend.engine.codec_embeddings import CodecEmbeddings
    from backend.engine.packed.packer import Packer
    from backend.engine.sampling import Sampling


class CodePredictor:
    """Predicts the residual codes of frames, for many rows at once.

    Args:
        talker: The package's `Qwen3TTSTalkerForConditionalGeneration`.
        sampling: How codes are sampled.
        embeddings: The talker's embeddings of codec frames.
        packer: Packs its matrices; states are float32 then. None computes with them as they are.
    """

    def __init__(
        self,
        talker: Any,
        sampling: Sampling,
        embeddings: CodecEmbeddings,
        packer: Packer | None = None,
    ) -> None:
        predictor = talker.code_predictor
        weight = predictor.model.norm.weight
        dtype = weight.dtype if packer is None else torch.float32
        self._embeddings = embeddings
        project = predictor.small_to_mtp_projection
        with torch.inference_mode():  # of all codes now, and not of each when it is sampled
            self._projected = [project(each) for each in embeddings.codebooks()[:-1]]
            positions = torch.arange(len(predictor.lm_head) + 1, device=weight.device).unsqueeze(0)
            like = torch.empty(0, dtype=dtype, device=weight.device)
            cosines, sines = predictor.model.rotary_emb(like, positions)
        passes = PlainPasses if packer is None else partial(PackedPasses, packer=packer)
        self._passes: PlainPasses | PackedPasses = passes(
            predictor, cosines[0], signed_sines(sines[0])
        )
        self._project = project
        if packer is not None and isinstance(project, nn.Linear):
            self._project = packer.pack(project)
        self._dtype = dtype
        self._sampling = sampling

    def predict(self, hidden: Tensor, codebook0: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Complete a frame for each row.

        Args:
            hidden: `(rows, hidden)`, the talker's states that `codebook0` was sampled from.
            codebook0: int64 `(rows,)`, the first code of each frame.
            uniforms: `(rows, code_groups - 1)`, in [0, 1).

        Returns:
            The codes, int64 `(rows, code_groups)`, `FAILED` where the logits were not finite, and
            the frames' embeddings, `(rows, hidden)`.
        """
        codes = [codebook0]
        passes = self._passes
        memory = passes.begin(len(hidden))
        first = functional.embedding(codebook0, self._projected[0]).to(self._dtype)
        inputs = torch.stack([self._project(hidden), first], dim=1).flatten(0, 1)
        all_logits = []
        for group in range(passes.count):
            if group:
                inputs = functional.embedding(codes[-1], self._projected[group]).to(self._dtype)
            logits = passes.logits(inputs, group, memory)
            all_logits.append(logits)
            codes.append(self._sampling.sample(logits, uniforms[:, group]))
        is_finite = torch.stack(all_logits, dim=1).isfinite().flatten(1).all(dim=1, keepdim=True)
        frames = torch.stack(codes, dim=1)
        embedded = self._embeddings.embed(frames).to(self._dtype)
        return frames.masked_fill_(~is_finite, FAILED), embedded


class PlainPasses:
    """The passes of a frame through the layers: one for each residual code.

    Args:
        predictor: The package's code predictor.
        cosines: `(positions, head_dim)`, of the rotary embedding.
        sines: `signed_sines`, likewise.

    Attributes:
        count: How many passes a frame has.
    """

    def __init__(self, predictor: Any, cosines: Tensor, sines: Tensor) -> None:
        self._heads = [Projection.of(head) for head in predictor.lm_head]
        self.count = len(self._heads)
        self._layers = [TransformerLayer(layer) for layer in predictor.model.layers]
        self._norm = RmsNorm.of(predictor.model.norm)
        self._cosines, self._sines = cosines, sines
        self._mask = causal_mask(2, 0, self._layers[0].queries_per_key, cosines)

    def begin(self, rows: int) -> Any:
        """Begin a frame: return the memory for each layer's keys and values."""
        layer = self._layers[0]
        shape = len(self._layers), 2, rows, layer.key_heads, len(self._cosines), layer.head_dim
        return [list(each) for each in self._cosines.new_empty(shape)]

    def logits(self, hidden: Tensor, group: int, memory: Any) -> Tensor:
        """Run the layers over the positions that are not cached yet: the first two, or the next.

        Args:
            hidden: `(rows * positions, predictor_hidden)`, which may be overwritten.
            group: The number of the pass.
            memory: What `begin` returned.

        Returns:
            The logits of the next code, `(rows, codes)`.
        """
        end = group + 2
        positions = 1 if group else 2
        start = end - positions
        rows = len(hidden) // positions
        rotary = self._cosines[start:end], self._sines[start:end]
        mask = None if start else self._mask  # a single last position attends to all
        for layer, (keys, values) in zip(self._layers, memory, strict=True):
            view = PrefillView(keys, values, start, end)
            hidden = layer(hidden, rows, rotary, view, mask)
        return self._heads[group](self._norm(hidden[positions - 1 :: positions]))


class PackedPasses:
    """`PlainPasses` with packed matrices, in few operations.

    The memory of queries, keys and values is allocated for a number of rows, together with what is
    seen of it at each position, and used again in each frame.

    Args:
        predictor: As for `PlainPasses`.
        cosines: Likewise.
        sines: Likewise.
        packer: Packs the matrices.

    Attributes:
        count: How many passes a frame has.
    """

    def __init__(self, predictor: Any, cosines: Tensor, sines: Tensor, packer: Packer) -> None:
        norm = predictor.model.norm
        self._layers = [PackedLayer(layer, packer) for layer in predictor.model.layers]
        self._heads = [packer.pack(head, norm=norm) for head in predictor.lm_head]
        self.count = len(self._heads)
        with torch.inference_mode():
            self._rotary = self._layers[0].rotary(cosines, sines)
            self._angles = [each.unsqueeze(0) for each in self._rotary]
            self._mask = causal_mask(2, 0, self._layers[0].queries_per_key, cosines)
        self._rows = 0
        self._memory: Any = None

    def begin(self, rows: int) -> Any:
        """As `PlainPasses.begin`."""
        if rows != self._rows:
            layer, positions = self._layers[0], self.count + 1
            shape = len(self._layers), rows, positions, layer.heads, layer.head_dim
            memory = self._rotary.real.new_zeros(shape)
            first = [layer.prefill_view(each) for each in memory]
            views = [
                [layer.step_view(each, position) for each in memory]
                for position in range(positions)
            ]
            self._memory = first, views
            self._rows = rows
        return self._memory

    def logits(self, hidden: Tensor, group: int, memory: Any) -> Tensor:
        """As `PlainPasses.logits`."""
        first, views = memory
        if group:
            angles = self._angles[group + 1]
            for layer, view in zip(self._layers, views[group + 1], strict=True):
                layer.step(hidden, angles, view)
            return self._heads[group](hidden)
        for layer, view in zip(self._layers, first, strict=True):
            hidden = layer(hidden, len(hidden) // 2, self._rotary[:2], view, self._mask)
        return self._heads[0](hidden[1::2])
