"""Prompts that arrive together are prefilled together: how many passes, and whom that delays."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from backend.contract import SpeechRequest
from backend.engine.batch import Batch, Row
from backend.engine.prefill_plan import CPU_PREFILL, GPU_PREFILL, PrefillPlan
from backend.engine.prefill_step import (
    MOST_POSITIONS,
    PrefillGraphs,
    PrefillSize,
    usual_prompts,
)
from backend.engine.talker import Talker
from backend.engine.transfers import HostCopy
from tests.backend.conftest import TRANSCRIPT
from tests.backend.engine.decoding import batch_of, decode, step_of
from tests.backend.engine.recording import Recorder
from tests.backend.engine.speaking import Ahead, speak
from tests.support.buzz import buzz
from tests.support.operations import work_of

if TYPE_CHECKING:
    from backend.contract import ConsentRecord
    from backend.engine.engine import Engine
    from backend.engine.prompt_embeds import PreparedRequest

ONE_BY_ONE = replace(GPU_PREFILL, idle_positions=512, rows=1)
"""What a GPU would do without joining prompts."""

SIZES = [PrefillSize(rows, positions) for rows in (1, 2, 4, 8) for positions in (64, 128)]


def spoken_requests(engine: Engine, consent: ConsentRecord, count: int) -> list[SpeechRequest]:
    """Sentences of different lengths in two voices."""
    prompts = [engine.make_prompt(buzz(pitch), TRANSCRIPT, consent) for pitch in (110, 170)]
    return [
        SpeechRequest("word " * (1 + row % 5), prompts[row % 2], seed=row, max_new_tokens=40)
        for row in range(count)
    ]


def prompts_of(engine: Engine, consent: ConsentRecord, count: int) -> dict[str, PreparedRequest]:
    requests = spoken_requests(engine, consent, count)
    return {str(row): engine.prepare(request) for row, request in enumerate(requests)}


class Cost(NamedTuple):
    """What it takes until each of some rows has its first code.

    Attributes:
        passes: How often the talker was run over prompts.
        operations: How many operations of torch.
        waits: How often the program waited for the device.
    """

    passes: int
    operations: int
    waits: int


def cost_of(
    engine: Engine, prompts: dict[str, PreparedRequest], plan: PrefillPlan, monkeypatch: Any
) -> Cost:
    batch = batch_of(engine, rows=len(prompts), prefill=plan)
    for prompt in prompts.values():
        batch.add(Row(prompt))
    counted: Counter[str] = Counter()

    def prefill() -> None:
        while len(batch.next_codes()) < len(prompts):
            batch.decode_step()

    with monkeypatch.context() as patch:
        for owner, name in [(Talker, "prefill"), (Talker, "prefill_whole"), (HostCopy, "wait")]:
            patch.setattr(owner, name, _counted(counted, name, getattr(owner, name)))
        operations = work_of(prefill).operations
    return Cost(counted["prefill"] + counted["prefill_whole"], operations, counted["wait"])


@pytest.mark.parametrize(("rows", "passes"), [(8, 1), (16, 2)])
def test_rows_that_arrive_together_need_few_passes_and_one_wait(
    engine: Engine,
    consent: ConsentRecord,
    monkeypatch: pytest.MonkeyPatch,
    rows: int,
    passes: int,
) -> None:
    prompts = prompts_of(engine, consent, rows)
    one_by_one = cost_of(engine, prompts, ONE_BY_ONE, monkeypatch)
    together = cost_of(engine, prompts, GPU_PREFILL, monkeypatch)
    assert one_by_one.passes == rows
    assert (together.passes, together.waits) == (passes, 1)
    assert one_by_one.waits > 1
    assert together.operations < one_by_one.operations / 3


@pytest.mark.parametrize("rows", [8, 16])
def test_a_processor_needs_no_more_work_for_rows_that_arrive_together(
    engine: Engine, consent: ConsentRecord, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    prompts = prompts_of(engine, consent, rows)
    one_by_one = cost_of(engine, prompts, replace(CPU_PREFILL, rows=1), monkeypatch)
    together = cost_of(engine, prompts, CPU_PREFILL, monkeypatch)
    assert together.passes <= one_by_one.passes / 2
    assert together.operations < one_by_one.operations


def test_replayed_prompts_of_several_rows_give_the_same_codes(
    other_engine: Engine, consent: ConsentRecord
) -> None:
    prompts = prompts_of(other_engine, consent, 7)
    when = {name: range(0 if row < 4 else 2, 12) for row, name in enumerate(prompts)}
    step = step_of(other_engine, rows=8)
    recorder = Recorder(step.prefill, PrefillSize)
    graphs = step.prefill.capture(recorder, SIZES)
    assert sorted(graphs.replays) == SIZES
    run_before = list(recorder.run)
    recorder.replayed.clear()
    plan = replace(GPU_PREFILL, least_share=0.4)
    said = decode(Batch(step, prefill=plan), prompts, when)
    assert recorder.run == run_before
    assert recorder.replayed[0].rows == 4
    expected = decode(batch_of(other_engine, rows=8, prefill=ONE_BY_ONE), prompts, when)
    assert {name: len(codes) for name, codes in said.items()} == {
        name: len(frames) for name, frames in when.items()
    }
    assert all(torch.equal(said[name], expected[name]) for name in prompts)


def test_prompts_in_one_pass_leave_the_rows_of_others_alone(
    other_engine: Engine, consent: ConsentRecord
) -> None:
    """Three prompts are replayed as four, beside the only other row of the cache."""
    prompts = prompts_of(other_engine, consent, 4)
    when = {name: range(3 if row else 0, 14) for row, name in enumerate(prompts)}
    step = step_of(other_engine, rows=4)
    recorder = Recorder(step.prefill, PrefillSize)
    step.prefill.capture(recorder, SIZES)
    recorder.replayed.clear()
    plan = replace(GPU_PREFILL, least_share=0.1)
    said = decode(Batch(step, prefill=plan), prompts, when)
    assert [size.rows for size in recorder.replayed] == [1, 4]
    expected = decode(batch_of(other_engine, rows=4, prefill=ONE_BY_ONE), prompts, when)
    assert all(torch.equal(said[name], expected[name]) for name in prompts)


def test_while_somebody_is_heard_a_frame_waits_for_few_positions_only(
    engine: Engine, consent: ConsentRecord
) -> None:
    prompts = prompts_of(engine, consent, 8)
    batch = batch_of(engine, rows=8, prefill=GPU_PREFILL)
    first, *others = [Row(prompt) for prompt in prompts.values()]
    batch.add(first)
    batch.next_codes()
    batch.decode_step()
    for row in others:
        batch.add(row)
    speaking, begun = 1, []
    while speaking < len(prompts):
        rows = [row for row, _ in batch.next_codes()]
        new = sum(len(row.request.inputs) for row in rows[speaking:])
        assert 0 < new <= GPU_PREFILL.positions
        begun += rows[speaking:]
        speaking = len(rows)
        assert first in [row for row, _ in batch.decode_step()]
    assert begun == others  # in the order of their arrival


def test_until_somebody_is_heard_all_prompts_go_first(
    engine: Engine, consent: ConsentRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = spoken_requests(engine, consent, 1)[0]
    positions = len(engine.prepare(request).inputs)
    plan = replace(GPU_PREFILL, positions=positions, idle_positions=4 * positions)
    decoding: list[int] = []
    decode_step = Talker.decode_step

    def counted(talker: Talker, inputs: torch.Tensor, *more: Any) -> torch.Tensor:
        decoding.append(len(inputs))
        return decode_step(talker, inputs, *more)

    monkeypatch.setattr(Talker, "decode_step", counted)
    speak(Ahead(engine, prefill=plan), [request] * 8)
    assert decoding[:2] == [4, 8]


prompts = st.lists(st.integers(10, 700), min_size=1, max_size=20)
captured = st.sets(st.sampled_from(usual_prompts(64)), max_size=12)


@given(
    prompts=prompts,
    rows=st.integers(1, 8),
    share=st.floats(0.1, 1.0),
    captured=st.one_of(st.none(), captured),
)
def test_every_prompt_is_in_one_pass_and_no_pass_is_mostly_padding(
    prompts: list[int], rows: int, share: float, captured: set[PrefillSize] | None
) -> None:
    plan = PrefillPlan(256, 512, rows, share)
    graphs = PrefillGraphs(lambda _step: print, dict.fromkeys(captured or (), print))

    def size_for(count: int, longest: int) -> PrefillSize | None:
        return PrefillSize(count, longest) if captured is None else graphs.size_for(count, longest)

    passes = plan.passes(prompts, size_for)
    assert sorted(index for each in passes for index in each) == list(range(len(prompts)))
    assert passes[0][0] == 0
    for each in passes:
        assert len(each) <= rows
        lengths = [prompts[index] for index in each]
        size = size_for(len(each), max(lengths))
        if len(each) > 1:
            assert size is not None
            assert sum(lengths) >= share * size.rows * size.positions


@pytest.mark.parametrize("rows", [1, 2, 5, 64])
def test_the_captured_sizes_are_few_and_bounded(rows: int) -> None:
    sizes = usual_prompts(rows)
    assert len({*sizes}) == len(sizes) <= 22
    assert max(size.rows for size in sizes) <= min(8, rows)
    assert max(size.rows * size.positions for size in sizes) <= MOST_POSITIONS
    assert PrefillSize(1, 512) in sizes


def _counted(counted: Counter[str], name: str, original: Any) -> Any:
    def counting(*args: Any) -> Any:
        counted[name] += 1
        return original(*args)

    return counting
