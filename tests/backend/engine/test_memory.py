"""Memory does not grow with the length or the number of requests."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
import torch

from backend.contract import SpeechRequest
from backend.engine.codec import _CACHED_REFERENCES
from backend.engine.generation import GenerationLoop
from backend.engine.kv_cache import KVCache
from tests.backend.conftest import TRANSCRIPT, buzz

if TYPE_CHECKING:
    from backend.contract import ConsentRecord
    from backend.engine.engine import Engine

MINUTE = 750  # frames
SLACK_BYTES = 64 * 1_024  # frames that wait for the codec; a cache that grew would be megabytes


def held_bytes() -> int:
    """The bytes of all tensors that Python knows of."""
    gc.collect()
    tensors = [each for each in gc.get_objects() if issubclass(type(each), torch.Tensor)]
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage() for each in tensors}
    return sum(storage.nbytes() for storage in storages.values())


@pytest.mark.slow
def test_a_minute_of_speech_holds_no_more_than_its_start(
    endless_engine: Engine, consent: ConsentRecord
) -> None:
    prompt = endless_engine.make_prompt(buzz(110), TRANSCRIPT, consent)
    loop = endless_engine.open(1)
    assert isinstance(loop, GenerationLoop)
    loop.add(SpeechRequest("word " * 20, prompt, seed=1))  # which may take more than a minute
    cache = loop._batch._cache
    cache.reserve(1, MINUTE + 100)
    held = []
    for frame in range(MINUTE):
        assert not any(chunk.is_last for chunk in loop.step())
        if frame in {100, MINUTE - 1}:
            held.append(held_bytes())
    assert cache.reallocations == 1
    assert held[1] - held[0] < SLACK_BYTES


def test_one_sentence_after_the_other_holds_no_more_than_the_first_few(
    endless_engine: Engine, consent: ConsentRecord
) -> None:
    prompts = [
        endless_engine.make_prompt(buzz(100 + 5 * number, seconds=3), TRANSCRIPT, consent)
        for number in range(_CACHED_REFERENCES + 4)
    ]
    rows = 4
    loop = endless_engine.open(rows)
    held = []
    for _ in range(3):
        for seed, prompt in enumerate(prompts):
            loop.add(SpeechRequest("A sentence.", prompt, seed=seed, max_new_tokens=9))
            while loop.rows == rows:
                list(loop.step())
        while loop.rows:
            list(loop.step())
        held.append(held_bytes())
    assert held[2] - held[0] < SLACK_BYTES


@pytest.mark.parametrize(
    ("free_gigabytes", "dtype", "rows"),
    [
        (19, torch.bfloat16, 16),
        (10, torch.float32, 8),
        (2, torch.float32, 2),
        (0, torch.float32, 1),
    ],
)
def test_a_small_gpu_speaks_fewer_sentences_at_once(
    free_gigabytes: int, dtype: torch.dtype, rows: int
) -> None:
    # The published checkpoints' 28 layers with 8 key heads of 128.
    cache = KVCache(28, 8, 128, torch.empty(0, dtype=dtype))
    assert cache.fitting_rows(free_gigabytes * 10**9) == rows
