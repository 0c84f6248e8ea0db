"""Takes a model's weights from its files so that its matrices can be packed one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from backend.engine.packed.mapped_weights import MappedWeights

if TYPE_CHECKING:
    from pathlib import Path

    from backend.weights.formats import WeightFormat


class StoredMatrices:
    """The matrices of a loaded model. They stay in its files until they are used.

    Nearly all time of a frame goes into them: they are the weights of the linear layers in the
    talker and in the code predictor, and of their heads. All other weights are put into memory at
    once, as float32. Only the text's embeddings are left in the files for good: they take as much
    as all packed matrices together, and a prompt reads a few rows of them.

    Args:
        model: The package's `Qwen3TTSForConditionalGeneration`, on a CPU. The weights that it was
            loaded with are given up.
        folder: Its checkpoint.
    """

    def __init__(self, model: Any, folder: Path) -> None:
        self._stored = MappedWeights(folder)
        talker, predictor = model.talker, model.talker.code_predictor
        parts = [talker.model.layers, predictor.model.layers, talker.codec_head, predictor.lm_head]
        linears = {each for part in parts for each in part.modules() if isinstance(each, nn.Linear)}
        text_embeddings = talker.get_text_embeddings()
        self._names: dict[Any, str] = {}
        for module_name, module in model.named_modules():
            for leaf in dict(module.named_parameters(recurse=False)):
                name = f"{module_name}.{leaf}"
                weight = self._stored.read(name)
                if module in linears and leaf == "weight":
                    self._names[module] = name
                elif module is not text_embeddings:
                    weight = weight.to(torch.float32, copy=True)
                setattr(module, leaf, nn.Parameter(weight, requires_grad=False))

    def give_back(self, part: Any) -> None:
        """Give back the memory that a part's matrices have taken since they were used."""
        for module in part.modules():
            if module in self._names:
                weight = self._stored.read(self._names[module])
                module.weight = nn.Parameter(weight, requires_grad=False)

    def saved_bytes(self, weights: WeightFormat) -> int:
        """Return how much less the matrices take in a format than they take in the files."""
        itemsize: int = getattr(torch, weights).itemsize
        matrices = [module.weight for module in self._names]
        return sum(each.nbytes - each.numel() * itemsize for each in matrices)
