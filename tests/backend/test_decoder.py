"""Rows that join and leave the decoder at any frame: each says what it says alone."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.engine.decoder import PROMPT_POSITIONS, Decoder
from tests.backend.conftest import load
from tests.backend.decoding import Part, company, speak

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from backend.engine import Engine

FRAMES = 10
NAMES = ("first", "second", "third", "fourth")


@pytest.fixture(scope="module")
def exact_engine(checkpoint: Path) -> Engine:
    """One in double precision, where rounding tips no choice."""
    return load(checkpoint, dtype="float64")


@pytest.fixture(scope="module")
def rows(exact_engine: Engine) -> dict[str, Part]:
    return company(exact_engine, NAMES)


@pytest.fixture(scope="module")
def alone(exact_engine: Engine, rows: dict[str, Part]) -> dict[str, torch.Tensor]:
    """What each says with nobody else there."""
    return {
        name: speak(decoder_of(exact_engine), {name: part}, {name: range(4 * FRAMES)})[name]
        for name, part in rows.items()
    }


def decoder_of(engine: Engine, *, rows: int = 4) -> Decoder:
    return Decoder(engine._parts, rows=rows, frames=64)


def assert_each_says_what_it_says_alone(
    said: Mapping[str, torch.Tensor], alone: Mapping[str, torch.Tensor]
) -> None:
    for name, codes in said.items():
        assert torch.equal(codes, alone[name][: len(codes)]), name


@pytest.mark.parametrize("joins", range(FRAMES))
def test_a_row_may_join_and_leave_at_every_frame(
    exact_engine: Engine,
    rows: dict[str, Part],
    alone: dict[str, torch.Tensor],
    joins: int,
) -> None:
    speaking, guest = (dict.fromkeys(NAMES[:3:2], range(FRAMES + 1)), NAMES[1])
    for leaves in range(joins + 1, FRAMES + 1):
        when = {**speaking, guest: range(joins, leaves)}
        said = speak(decoder_of(exact_engine), rows, when)
        assert {name: len(codes) for name, codes in said.items()} == {
            name: len(frames) for name, frames in when.items()
        }
        assert_each_says_what_it_says_alone(said, alone)


def visits() -> st.SearchStrategy[dict[str, range]]:
    frames = st.sampled_from([range(*pair) for pair in combinations(range(4 * FRAMES), 2)])
    return st.dictionaries(st.sampled_from(NAMES), frames, min_size=1)


@settings(max_examples=40)
@given(when=visits())
def test_whoever_comes_and_goes_each_row_says_what_it_says_alone(
    exact_engine: Engine,
    rows: dict[str, Part],
    alone: dict[str, torch.Tensor],
    when: dict[str, range],
) -> None:
    said = speak(decoder_of(exact_engine), rows, when)
    assert {name: len(codes) for name, codes in said.items()} == {
        name: len(frames) for name, frames in when.items()
    }
    assert_each_says_what_it_says_alone(said, alone)


def test_in_single_precision_company_moves_a_state_by_rounding_only(engine: Engine) -> None:
    parts = company(engine, NAMES)

    def states(names: tuple[str, ...]) -> list[torch.Tensor]:
        decoder = decoder_of(engine)
        for name in names:
            decoder.join(*parts[name])
        seen = []
        for _ in range(FRAMES):
            decoder.choose_first_codes()
            decoder.make_frames()
            seen.append(decoder.states_of_rows()[0])
        return seen

    for in_company, by_itself in zip(states(NAMES), states(NAMES[:1]), strict=True):
        difference = (in_company - by_itself).abs().max() / by_itself.abs().max()
        assert difference < 1e-4


def test_long_requests_are_read_in_parts_while_others_speak(
    exact_engine: Engine, rows: dict[str, Part], alone: dict[str, torch.Tensor]
) -> None:
    speaker, long = NAMES[0], "long"
    request = rows[speaker].request
    repeated = request.inputs.repeat(16, 1)
    assert len(repeated) > 3 * PROMPT_POSITIONS
    late = -(-len(repeated) // PROMPT_POSITIONS) - 1
    parts = {**rows, long: Part(type(request)(repeated, *_rest(request)), rows[speaker].draws)}
    when = {speaker: range(20), long: range(4, 20)}
    said = speak(decoder_of(exact_engine), parts, when)
    assert torch.equal(said[speaker], alone[speaker][:20])  # who was not held up
    assert len(said[long]) == len(when[long]) - late
    at_once = speak(decoder_of(exact_engine), parts, {long: range(20)})[long]
    assert torch.equal(at_once[: len(said[long])], said[long])


def _rest(request: object) -> tuple[torch.Tensor, torch.Tensor]:
    return request.trailing_text, request.reference_codes  # type: ignore[attr-defined]


def test_a_row_whose_request_is_half_read_may_leave(
    exact_engine: Engine, rows: dict[str, Part], alone: dict[str, torch.Tensor]
) -> None:
    speaker, late = NAMES[0], NAMES[1]
    request = rows[speaker].request
    half_read = type(request)(request.inputs.repeat(16, 1), *_rest(request))
    parts = {**rows, "half read": Part(half_read, rows[speaker].draws)}
    when = {speaker: range(12), "half read": range(2, 4), late: range(3, 12)}
    said = speak(decoder_of(exact_engine), parts, when)
    assert "half read" not in said
    assert len(said[late]) == 12 - 4  # it was read once the other had left
    assert_each_says_what_it_says_alone(said, alone)


def test_a_row_that_leaves_while_another_is_half_read_disturbs_nobody(
    exact_engine: Engine, rows: dict[str, Part], alone: dict[str, torch.Tensor]
) -> None:
    request = rows[NAMES[0]].request
    long = Part(type(request)(request.inputs.repeat(16, 1), *_rest(request)), rows[NAMES[0]].draws)
    parts = {**rows, "long": long}
    when = {NAMES[0]: range(3), NAMES[1]: range(20), NAMES[2]: range(4), "long": range(2, 20)}
    said = speak(decoder_of(exact_engine), parts, when)
    expected = speak(decoder_of(exact_engine), parts, {"long": range(20)})["long"]
    assert_each_says_what_it_says_alone(said, {**alone, "long": expected})
