"""What stands for a GPU that captures: it has to be as strict, and to repeat all there was."""

from __future__ import annotations

import pytest
import torch

from tests.backend.engine.tape import Tape


def test_a_replay_works_on_what_is_in_the_memory_then() -> None:
    numbers, sums = torch.arange(6.0).reshape(2, 3), torch.zeros(2)
    tape = Tape()
    with tape:
        sums += numbers[:, 1:].clone().mul_(2).sum(dim=1)
    tape.close()
    assert sums.tolist() == [6, 18]
    numbers.fill_(1)
    for _ in range(2):
        tape.replay()
    assert sums.tolist() == [6 + 8, 18 + 8]
    assert tape.kernels == 4


@pytest.mark.parametrize(
    "work",
    [
        torch.Tensor.item,
        torch.nonzero,
        torch.unique,
        lambda numbers: numbers[numbers > 0],
        lambda numbers: numbers.__setitem__(numbers > 0, torch.zeros(1)),
    ],
    ids=["item", "nonzero", "unique", "mask", "masked"],
)
def test_what_the_program_would_have_to_wait_for_is_refused(work: object) -> None:
    assert callable(work)
    with pytest.raises(RuntimeError, match="not permitted when stream is capturing"), Tape():
        work(torch.ones(1))
