"""One transformer layer with packed matrices on a processor, in few and small operations.

It computes what `backend.engine.layers.TransformerLayer` does. With packed matrices, the operations
between them take as long as the products, so there are fewer of them here:

- The weights of the norms are a part of the matrices behind them. What is left of a norm is the
  length that each row is divided by.
- The two numbers of a pair that the rotary embedding turns lie next to each other in queries and
  keys. So they are one complex number, and the rotation is one product.
- Results are written over what isn't needed any more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

import torch
from torch import nn
from torch.nn import functional

from backend.engine.kv_cache import PrefillView

if TYPE_CHECKING:
    from torch import Tensor

    from backend.engine.kv_cache import DecodeView, SlotView
    from backend.engine.packed.packer import PackedProjection, Packer


@dataclass(frozen=True, slots=True)
class StepView:
    """Where a layer's queries, keys and values of one position go, and what it attends to.

    Attributes:
        heads: complex64 `(rows, heads * head_dim / 2)`, the new position of all heads.
        queries: `(rows, key_heads, queries_per_key, head_dim)`, the same memory's queries.
        keys: `(rows, key_heads, positions, head_dim)`, of all positions so far.
        values: The same.
    """

    heads: Tensor
    queries: Tensor
    keys: Tensor
    values: Tensor


class PackedLayer:
    """A layer with the weights of a `qwen_tts` layer, packed. States are float32.

    Args:
        layer: The package's `Qwen3TTSTalkerDecoderLayer` or `Qwen3TTSDecoderLayer`.
        packer: Packs its matrices.
        frees: As in `Packer.pack`.

    Attributes:
        head_dim: The length of a key.
        key_heads: The number of key heads.
        queries_per_key: How many query heads attend to each key head.
        heads: The number of heads: of queries, keys and values.
    """

    def __init__(self, layer: Any, packer: Packer, *, frees: bool = True) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.head_dim: int = attention.head_dim
        self.key_heads: int = attention.k_proj.out_features // self.head_dim
        self._query_heads = attention.q_proj.out_features // self.head_dim
        self.queries_per_key = self._query_heads // self.key_heads
        self._rotated_heads = self._query_heads + self.key_heads
        self.heads = self._rotated_heads + self.key_heads
        pairs = torch.arange(self.head_dim).view(2, -1).t().flatten()
        head_starts = torch.arange(self.heads).unsqueeze(1) * self.head_dim
        order = head_starts + pairs
        order[self._rotated_heads :] = head_starts[self._rotated_heads :] + pairs.sort().values
        project = packer.pack(
            attention.q_proj,
            attention.k_proj,
            attention.v_proj,
            norm=layer.input_layernorm,
            order=order.flatten(),
            frees=frees,
        )
        norms = [attention.q_norm] * self._query_heads + [attention.k_norm] * self.key_heads
        with torch.inference_mode():
            weights = torch.stack([each.weight.float() for each in norms])
            weights = weights[:, pairs] * math.sqrt(self.head_dim)
            weights[: self._query_heads] *= attention.scaling
        floor = torch.tensor(math.sqrt(self.head_dim * attention.q_norm.variance_epsilon))
        out = packer.pack(attention.o_proj, frees=frees)
        gate_and_up = packer.pack(
            mlp.gate_proj, mlp.up_proj, norm=layer.post_attention_layernorm, frees=frees
        )
        down = packer.pack(mlp.down_proj, frees=frees)
        operations = _Operations(
            project, out, gate_and_up, down, weights, floor, self.heads, mlp.act_fn
        )
        self._do: Any = torch.jit.script(operations) if operations.can_be_scripted else operations

    def rotary(self, cosines: Tensor, sines: Tensor) -> Tensor:
        """Return the rotary embedding of some positions, as the layer takes it.

        Args:
            cosines: `(positions, head_dim)`, as the package computes them.
            sines: `signed_sines`, likewise.

        Returns:
            complex64 `(positions, heads * head_dim / 2)`: of values, one, which changes nothing.
        """
        half = self.head_dim // 2
        turns = torch.complex(cosines[:, half:].float(), sines[:, half:].float())
        angles = turns.new_ones(len(turns), self.heads, half)
        angles[:, : self._rotated_heads] = turns.unsqueeze(1)
        return angles.flatten(1)

    def __call__(
        self,
        hidden: Tensor,
        rows: int,
        rotary: Tensor,
        cache: PrefillView | SlotView | DecodeView,
        mask: Tensor | None,
    ) -> Tensor:
        """Run the layer over new positions.

        Args:
            hidden: float32 `(rows * positions, hidden)`.
            rows: How many rows there are.
            rotary: What `rotary` returns for the new positions, which broadcasts to
                `(rows * positions, ...)`.
            cache: As for `TransformerLayer`.
            mask: As for `TransformerLayer`.

        Returns:
            `(rows * positions, hidden)`.
        """
        heads: Tensor = self._do.normed_heads(hidden)
        turned = heads.view(torch.complex64)
        turned.view(-1, *rotary.shape).mul_(rotary)
        split = heads.view(rows, -1, self.heads, self.head_dim).transpose(1, 2)
        keys, values = cache.update(
            split.narrow(1, self._query_heads, self.key_heads),
            split.narrow(1, self._rotated_heads, self.key_heads),
        )
        queries = split.narrow(1, 0, self._query_heads)
        attended: Tensor = self._do.attend(
            queries.reshape(rows, self.key_heads, -1, self.head_dim), keys, values, mask
        )
        attended = attended.reshape(queries.shape).transpose(1, 2)
        result: Tensor = self._do.finish(hidden.clone(), attended.reshape(len(hidden), -1))
        return result

    def prefill_view(self, memory: Tensor) -> PrefillView:
        """Return the first two positions of the memory that `step_view` takes."""
        keys, values = self._keys_and_values(memory)
        return PrefillView(keys, values, 0, 2)

    def step_view(self, memory: Tensor, position: int) -> StepView:
        """Return what `step` uses of some memory.

        Args:
            memory: float32 `(rows, positions, heads, head_dim)`.
            position: The new position.
        """
        keys, values = self._keys_and_values(memory[:, : position + 1])
        new = memory[:, position]
        shape = len(memory), self.key_heads, self.queries_per_key, self.head_dim
        return StepView(
            heads=new.flatten(1).view(torch.complex64),
            queries=new[:, : self._query_heads].view(shape),
            keys=keys,
            values=values,
        )

    def _keys_and_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return `(rows, key_heads, positions, head_dim)` each."""
        heads = memory.transpose(1, 2)
        ends = self._query_heads, self._rotated_heads, self.heads
        return heads[:, ends[0] : ends[1]], heads[:, ends[1] : ends[2]]

    def step(self, hidden: Tensor, rotary: Tensor, view: StepView) -> Tensor:
        """Run the layer over one new position of each row.

        Args:
            hidden: float32 `(rows, hidden)`, which is overwritten.
            rotary: What `rotary` returns for the position, `(1, heads * head_dim / 2)`.
            view: Where it goes, and what it attends to.

        Returns:
            `hidden`.
        """
        result: Tensor = self._do.step(
            hidden, rotary, view.heads, view.queries, view.keys, view.values
        )
        return result


class _Operations(nn.Module):
    """The operations of a `PackedLayer`, in TorchScript if its matrices are in TorchScript.

    They are so many and so small that calling each from Python would take as long as the products.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what `PackedLayer` has packed
        self,
        project: PackedProjection,
        out: PackedProjection,
        gate_and_up: PackedProjection,
        down: PackedProjection,
        head_weights: Tensor,
        head_floor: Tensor,
        heads: int,
        activate: Any,
    ) -> None:
        super().__init__()
        projections = project, out, gate_and_up, down  # the package's MLPs have no biases
        scripts = [getattr(each.matrix, "script", None) for each in projections]
        self.can_be_scripted = None not in scripts
        chosen: list[Any] = (
            scripts if self.can_be_scripted else [each.matrix for each in projections]
        )
        self.project, self.out, self.gate_and_up, self.down = chosen
        self.project_bias, self.out_bias = project.bias, out.bias
        self.first_floor, self.second_floor = project.floor, gate_and_up.floor
        self.head_weights, self.head_floor = head_weights, head_floor
        self.heads = heads
        self.rotated_heads, self.head_dim = head_weights.shape
        self.queries_per_key = (2 * self.rotated_heads - heads) // (heads - self.rotated_heads)
        self.activate = activate

    @torch.jit.export
    def normed_heads(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return queries, keys and values, the former two normalised."""
        norms = torch.linalg.vector_norm(hidden, dim=[-1], keepdim=True).hypot_(self.first_floor)
        projected: torch.Tensor = self.project.quotient(hidden, norms)
        if self.project_bias is not None:
            projected.add_(self.project_bias)
        rotated = projected.view(-1, self.heads, self.head_dim).narrow(1, 0, self.rotated_heads)
        lengths = torch.linalg.vector_norm(rotated, dim=[-1], keepdim=True).hypot_(self.head_floor)
        rotated.div_(lengths).mul_(self.head_weights)
        return projected

    @torch.jit.export
    def attend(
        self,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        mask: Optional[torch.Tensor],  # noqa: UP045 - TorchScript reads it
    ) -> torch.Tensor:
        """Return what queries `(rows, key_heads, queries, head_dim)` attend to."""
        if queries.size(0) > 1 or queries.size(2) != self.queries_per_key:
            return functional.scaled_dot_product_attention(
                queries, keys, values, attn_mask=mask, scale=1.0
            )
        # For one row and one position, three operations take half the time.
        transposed = keys[0].transpose(1, 2)
        if mask is None:
            scores = torch.bmm(queries[0], transposed)
        else:
            scores = torch.baddbmm(mask[0], queries[0], transposed)
        return torch.bmm(scores.softmax(-1), values[0])

    @torch.jit.export
    def finish(self, hidden: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """Add what the attention and then what the MLP gives to `hidden`."""
        self.out.add_product(hidden, attended)
        if self.out_bias is not None:
            hidden.add_(self.out_bias)
        norms = torch.linalg.vector_norm(hidden, dim=[-1], keepdim=True).hypot_(self.second_floor)
        gate, up = self.gate_and_up.quotient(hidden, norms).chunk(2, 1)
        self.down.add_product(hidden, self.activate(gate).mul_(up))
        return hidden

    @torch.jit.export
    def step(  # noqa: PLR0913, PLR0917 - TorchScript takes no classes of ours
        self,
        hidden: torch.Tensor,
        rotary: torch.Tensor,
        heads: torch.Tensor,
        queries: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
    ) -> torch.Tensor:
        """As `PackedLayer.step`."""
        turned = torch.view_as_complex(self.normed_heads(hidden).view(hidden.size(0), -1, 2))
        torch.mul(turned, rotary, out=heads)
        attended = self.attend(queries, keys, values, None)
        return self.finish(hidden, attended.reshape(hidden.size(0), -1))
