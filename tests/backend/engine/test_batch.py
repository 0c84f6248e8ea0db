"""Rows that are added to a batch and removed at any frame: each says what it says alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.engine.batch import Row
from backend.engine.prefill_plan import CPU_PREFILL, GPU_PREFILL, PrefillPlan
from tests.backend.conftest import load, make_checkpoint
from tests.backend.engine.decoding import batch_of, decode, different_requests

if TYPE_CHECKING:
    from collections.abc import Mapping, Sized

    from backend.engine.engine import Engine
    from backend.engine.prompt_embeds import PreparedRequest


FRAMES = 10
NAMES = ("first", "second", "third", "fourth")


class Rows:
    """Requests for an engine in double precision, where rounding changes no sampled code.

    Attributes:
        alone: The codes of each in a batch of its own.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._requests = different_requests(engine, NAMES)
        self.alone = {name: self.decode({name: range(4 * FRAMES)})[name] for name in NAMES}

    def decode(
        self,
        when: Mapping[str, range],
        *,
        is_ahead: bool = False,
        prefill: PrefillPlan | None = None,
        **more: PreparedRequest,
    ) -> dict[str, torch.Tensor]:
        """Add and remove rows as `decode` has it."""
        batch = batch_of(self._engine, is_ahead=is_ahead, prefill=prefill)
        return decode(batch, {**self._requests, **more}, when)

    def long_request(self) -> PreparedRequest:
        """One whose prefill takes several frames."""
        request = self._requests[NAMES[0]]
        long = replace(request, inputs=request.inputs.repeat(16, 1))
        assert 3 * CPU_PREFILL.positions < len(long.inputs) <= 4 * CPU_PREFILL.positions
        return long

    def long_request_without_numbers(self) -> PreparedRequest:
        long = self.long_request()
        return replace(long, inputs=long.inputs * torch.nan)

    def assert_as_alone(self, said: Mapping[str, torch.Tensor]) -> None:
        for name, codes in said.items():
            assert torch.equal(codes, self.alone[name][: len(codes)]), name


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    checkpoint = make_checkpoint(tmp_path_factory, "few-codes", end_of_speech_scale=3.0)
    # Along the speech, so that rows differ in the text that is left for their frames as well.
    return Rows(load(checkpoint, dtype="float64", text_layout="along"))


def lengths(said: Mapping[str, Sized]) -> dict[str, int]:
    return {name: len(each) for name, each in said.items()}


@pytest.mark.parametrize("added", range(FRAMES))
def test_a_row_may_be_added_and_removed_at_every_frame(rows: Rows, added: int) -> None:
    others = dict.fromkeys((NAMES[0], NAMES[2]), range(FRAMES + 1))
    for removed in range(added + 1, FRAMES + 1):
        when = {**others, NAMES[1]: range(added, removed)}
        said = rows.decode(when)
        assert lengths(said) == lengths(when)
        rows.assert_as_alone(said)


def schedules() -> st.SearchStrategy[dict[str, range]]:
    frames = st.sampled_from([range(*pair) for pair in combinations(range(4 * FRAMES), 2)])
    return st.dictionaries(st.sampled_from(NAMES), frames, min_size=1)


@settings(max_examples=25, deadline=None)
@given(
    when=schedules(), is_ahead=st.booleans(), prefill=st.sampled_from([CPU_PREFILL, GPU_PREFILL])
)
def test_whatever_is_added_and_removed_each_row_says_what_it_says_alone(
    rows: Rows, when: dict[str, range], is_ahead: bool, prefill: PrefillPlan
) -> None:
    said = rows.decode(when, is_ahead=is_ahead, prefill=prefill)
    assert lengths(said) == lengths(when)
    rows.assert_as_alone(said)


@settings(max_examples=25, deadline=None)
@given(when=schedules(), positions=st.integers(20, 200), rows_at_once=st.integers(1, 4))
def test_however_prompts_are_divided_each_row_says_what_it_says_alone(
    rows: Rows, when: dict[str, range], positions: int, rows_at_once: int
) -> None:
    prefill = PrefillPlan(positions, 2 * positions, rows_at_once, least_share=0.3)
    rows.assert_as_alone(rows.decode(when, prefill=prefill))


def test_in_single_precision_other_rows_change_a_state_by_rounding_only(engine: Engine) -> None:
    requests = different_requests(engine, NAMES)

    def states(names: tuple[str, ...]) -> list[torch.Tensor]:
        batch = batch_of(engine)
        for name in names:
            batch.add(Row(requests[name]))
        seen = []
        for _ in range(FRAMES):
            batch.next_codes()
            batch.decode_step()
            seen.append(batch.hidden_states()[0])
        return seen

    for together, alone in zip(states(NAMES), states(NAMES[:1]), strict=True):
        difference = (together - alone).abs().max() / alone.abs().max()
        assert difference < 1e-4


def test_long_prompts_are_read_in_parts_while_others_decode(rows: Rows) -> None:
    when = {NAMES[0]: range(20), "long": range(4, 20)}
    said = rows.decode(when, long=rows.long_request())
    assert lengths(said) == {NAMES[0]: 20, "long": 16 - 3}  # the other row is not held up
    alone = rows.decode({"long": range(20)}, long=rows.long_request())["long"]
    assert torch.equal(alone[:13], said.pop("long"))
    rows.assert_as_alone(said)


def test_a_row_may_be_removed_in_the_middle_of_its_prefill(rows: Rows) -> None:
    when = {NAMES[0]: range(12), "long": range(2, 4), NAMES[1]: range(3, 12)}
    said = rows.decode(when, long=rows.long_request())
    assert lengths(said) == {NAMES[0]: 12, NAMES[1]: 12 - 4}  # read after the other is removed
    rows.assert_as_alone(said)


def test_removing_a_row_during_the_prefill_of_another_changes_nothing(rows: Rows) -> None:
    when = {NAMES[0]: range(3), NAMES[1]: range(20), NAMES[2]: range(4), "long": range(2, 20)}
    said = rows.decode(when, long=rows.long_request())
    alone = rows.decode({"long": range(20)}, long=rows.long_request())["long"]
    assert torch.equal(alone[:15], said.pop("long"))
    rows.assert_as_alone(said)


def test_a_row_removed_during_its_prefill_leaves_nothing_behind(rows: Rows) -> None:
    not_numbers = rows.long_request_without_numbers()
    when = {NAMES[0]: range(12), "long": range(2, 4), NAMES[1]: range(4, 12), "again": range(5, 7)}
    said = rows.decode(when, long=not_numbers, again=not_numbers)
    assert lengths(said) == {NAMES[0]: 12, NAMES[1]: 8}
    rows.assert_as_alone(said)


def test_a_row_that_moves_to_another_slot_leaves_nothing_behind(rows: Rows) -> None:
    when = {
        NAMES[0]: range(20),
        NAMES[1]: range(3),
        "long": range(2, 5),  # has moved to the slot of the one before
        NAMES[2]: range(5, 20),
        NAMES[3]: range(5, 20),
    }
    said = rows.decode(when, long=rows.long_request_without_numbers())
    assert lengths(said) == {NAMES[0]: 20, NAMES[1]: 3, NAMES[2]: 15, NAMES[3]: 15}
    rows.assert_as_alone(said)
