"""Memory does not grow with the length or the number of requests."""

from __future__ import annotations

import gc
import resource
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from backend.contract import (
    MAX_NEW_TOKENS,
    MAX_SPOKEN_CHARACTERS,
    MAX_TRANSCRIPT_CHARACTERS,
    SpeechRequest,
    TextNotSpeakableError,
)
from backend.engine.codec.decoder import _CACHED_REFERENCES
from backend.engine.generation import GenerationLoop
from backend.engine.kv_cache import ROW_POSITIONS, CacheShape, KVCache
from backend.engine.prompt_embeds import PreparedRequest, PromptEmbedder
from backend.engine.room import MOST_ROWS, fitted, rows_on_gpu, rows_with_room
from tests.backend.conftest import TRANSCRIPT
from tests.support.buzz import buzz

if TYPE_CHECKING:
    from backend.contract import ConsentRecord
    from backend.engine.engine import Engine

MINUTE = 750  # frames
STATM = Path("/proc/self/statm")
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
    held = []
    for frame in range(MINUTE):
        assert not any(chunk.is_last for chunk in loop.step())
        if frame in {100, MINUTE - 1}:
            held.append(held_bytes())
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


PUBLISHED = CacheShape(layers=28, key_heads=8, head_dim=128, dtype=torch.bfloat16)
"""Of both published checkpoints."""

IN_FLOAT32 = replace(PUBLISHED, dtype=torch.float32)


@pytest.mark.parametrize(
    ("gpu", "shape", "free_gigabytes", "all_gigabytes", "rows"),
    [
        ("H100, 1.7B", PUBLISHED, 75, 84, MOST_ROWS),
        ("A100, 1.7B", PUBLISHED, 34, 42, 32),
        ("A10G, 1.7B", PUBLISHED, 16, 24, 16),
        ("T4, 0.6B", IN_FLOAT32, 9, 15.8, 5),
        ("T4, of which others use the most", IN_FLOAT32, 2, 15.8, 1),
        ("full", PUBLISHED, 0, 84, 1),
    ],
)
def test_a_gpu_speaks_as_many_sentences_at_once_as_it_has_room_for(
    gpu: str, shape: CacheShape, free_gigabytes: float, all_gigabytes: float, rows: int
) -> None:
    free, total = int(free_gigabytes * 1e9), int(all_gigabytes * 1e9)
    assert rows_on_gpu(shape.row_bytes(), free, total) == rows, gpu


def test_a_cpu_has_room_for_few_rows_of_a_published_model() -> None:
    cpu = torch.device("cpu")
    assert rows_with_room(IN_FLOAT32, cpu) == 8
    assert rows_with_room(CacheShape(2, 2, 16, torch.float32), cpu) == 16


@pytest.mark.skipif(not STATM.exists(), reason="this system does not tell what memory is used")
def test_rows_that_nobody_uses_take_no_memory() -> None:
    def used_megabytes() -> float:
        return int(STATM.read_text().split()[1]) * resource.getpagesize() / 1e6

    before = used_megabytes()
    cache = KVCache(IN_FLOAT32, rows=8, positions=ROW_POSITIONS, device=torch.device("cpu"))
    assert used_megabytes() - before < 20
    with torch.inference_mode():
        for view in cache.prefill_views(3, 0, 100):
            view.update(torch.ones(1, 8, 100, 128), torch.ones(1, 8, 100, 128))
    cache.use(3, 100)
    assert 20 < used_megabytes() - before < 60
    cache.move(3, 5)
    keys = cache.prefill_views(5, 0, 100)[27].keys
    assert keys[:, :, :100].eq(1).all()
    assert not keys[:, :, 100:110].any()
    assert not cache.prefill_views(3, 0, 100)[27].keys[:, :, :110].any()


def prepared(positions: int, text_tokens: int, max_tokens: int) -> PreparedRequest:
    nothing = torch.zeros(0)
    return PreparedRequest(torch.zeros(positions), nothing, nothing, text_tokens, max_tokens)


def test_the_longest_that_the_limits_allow_fits_into_a_row() -> None:
    frames = 381  # 30 s of reference, and the silence after it
    others = 16  # role, language, speaker and the like
    prompt = MAX_SPOKEN_CHARACTERS + MAX_TRANSCRIPT_CHARACTERS + frames + others
    longest = prepared(prompt, MAX_SPOKEN_CHARACTERS, MAX_NEW_TOKENS)
    assert fitted(longest, ROW_POSITIONS).max_tokens == MAX_NEW_TOKENS


@given(
    positions=st.integers(1, 5_000),
    text_tokens=st.integers(1, 2_400),
    max_tokens=st.integers(1, MAX_NEW_TOKENS),
)
def test_a_request_fits_into_a_row_or_is_refused(
    positions: int, text_tokens: int, max_tokens: int
) -> None:
    request = prepared(positions, text_tokens, max_tokens)
    try:
        limit = fitted(request, ROW_POSITIONS).max_tokens
    except TextNotSpeakableError:
        assert ROW_POSITIONS - positions < min(max_tokens, 2 * text_tokens) or (
            positions >= ROW_POSITIONS
        )
    else:
        assert 1 <= limit <= max_tokens
        assert positions + limit <= ROW_POSITIONS


def test_a_text_whose_prompt_leaves_no_room_for_its_speech_is_refused(
    endless_engine: Engine, consent: ConsentRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = PromptEmbedder.embed
    prompt = endless_engine.make_prompt(buzz(110), None, consent)
    request = SpeechRequest("word " * 20, prompt)

    def embed_long(*args: Any) -> PreparedRequest:
        request = embed(*args)
        padding = request.inputs.new_zeros(positions - len(request.inputs), request.inputs.shape[1])
        return replace(request, inputs=torch.cat([request.inputs, padding]))

    monkeypatch.setattr(PromptEmbedder, "embed", embed_long)
    positions = ROW_POSITIONS - 300
    assert endless_engine.prepare(request).max_tokens == 300
    positions = ROW_POSITIONS - 100
    with pytest.raises(TextNotSpeakableError, match="too many tokens"):
        endless_engine.prepare(request)
