"""Rows that join and leave the decoder at any frame: each says what it says alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.engine.batch import PROMPT_POSITIONS, Decoder
from tests.backend.conftest import load
from tests.backend.engine.decoding import Part, company, speak

if TYPE_CHECKING:
    from collections.abc import Mapping, Sized
    from pathlib import Path

    from backend.engine.engine import Engine


FRAMES = 10
NAMES = ("first", "second", "third", "fourth")


class Choir:
    """An engine in double precision, where rounding tips no choice, and rows for it.

    Attributes:
        rows: What each reads.
        alone: What each says with nobody else there.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.rows = company(engine, NAMES)
        self.alone = {name: self.speak({name: range(4 * FRAMES)})[name] for name in NAMES}

    def speak(self, when: Mapping[str, range], **more: Part) -> dict[str, torch.Tensor]:
        """Let rows join and leave as `speak` has it."""
        return speak(decoder_of(self._engine), {**self.rows, **more}, when)

    def long_row(self) -> Part:
        """One that takes several frames to be read."""
        request, draws = self.rows[NAMES[0]]
        long = replace(request, inputs=request.inputs.repeat(16, 1))
        assert 3 * PROMPT_POSITIONS < len(long.inputs) <= 4 * PROMPT_POSITIONS
        return Part(long, draws)

    def assert_as_alone(self, said: Mapping[str, torch.Tensor]) -> None:
        for name, codes in said.items():
            assert torch.equal(codes, self.alone[name][: len(codes)]), name


@pytest.fixture(scope="module")
def choir(checkpoint: Path) -> Choir:
    return Choir(load(checkpoint, dtype="float64"))


def decoder_of(engine: Engine) -> Decoder:
    return Decoder(engine._parts, rows=4, frames=64)


def lengths(said: Mapping[str, Sized]) -> dict[str, int]:
    return {name: len(each) for name, each in said.items()}


@pytest.mark.parametrize("joins", range(FRAMES))
def test_a_row_may_join_and_leave_at_every_frame(choir: Choir, joins: int) -> None:
    speaking = dict.fromkeys((NAMES[0], NAMES[2]), range(FRAMES + 1))
    for leaves in range(joins + 1, FRAMES + 1):
        when = {**speaking, NAMES[1]: range(joins, leaves)}
        said = choir.speak(when)
        assert lengths(said) == lengths(when)
        choir.assert_as_alone(said)


def visits() -> st.SearchStrategy[dict[str, range]]:
    frames = st.sampled_from([range(*pair) for pair in combinations(range(4 * FRAMES), 2)])
    return st.dictionaries(st.sampled_from(NAMES), frames, min_size=1)


@settings(max_examples=40, deadline=None)
@given(when=visits())
def test_whoever_comes_and_goes_each_row_says_what_it_says_alone(
    choir: Choir, when: dict[str, range]
) -> None:
    said = choir.speak(when)
    assert lengths(said) == lengths(when)
    choir.assert_as_alone(said)


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


def test_long_requests_are_read_in_parts_while_others_speak(choir: Choir) -> None:
    when = {NAMES[0]: range(20), "long": range(4, 20)}
    said = choir.speak(when, long=choir.long_row())
    assert lengths(said) == {NAMES[0]: 20, "long": 16 - 3}  # who was there is not held up
    alone = choir.speak({"long": range(20)}, long=choir.long_row())["long"]
    assert torch.equal(alone[:13], said.pop("long"))
    choir.assert_as_alone(said)


def test_a_row_whose_request_is_half_read_may_leave(choir: Choir) -> None:
    when = {NAMES[0]: range(12), "long": range(2, 4), NAMES[1]: range(3, 12)}
    said = choir.speak(when, long=choir.long_row())
    assert lengths(said) == {NAMES[0]: 12, NAMES[1]: 12 - 4}  # it is read once the other has left
    choir.assert_as_alone(said)


def test_who_leaves_while_another_is_half_read_disturbs_nobody(choir: Choir) -> None:
    when = {NAMES[0]: range(3), NAMES[1]: range(20), NAMES[2]: range(4), "long": range(2, 20)}
    said = choir.speak(when, long=choir.long_row())
    alone = choir.speak({"long": range(20)}, long=choir.long_row())["long"]
    assert torch.equal(alone[:15], said.pop("long"))
    choir.assert_as_alone(said)


def test_a_row_that_leaves_half_read_leaves_nothing_behind(choir: Choir) -> None:
    request, draws = choir.long_row()
    not_numbers = Part(replace(request, inputs=request.inputs * torch.nan), draws)
    when = {NAMES[0]: range(12), "long": range(2, 4), NAMES[1]: range(4, 12), "again": range(5, 7)}
    said = choir.speak(when, long=not_numbers, again=not_numbers)
    assert lengths(said) == {NAMES[0]: 12, NAMES[1]: 8}
    choir.assert_as_alone(said)


def test_who_moves_up_leaves_nothing_behind(choir: Choir) -> None:
    request, draws = choir.long_row()
    not_numbers = Part(replace(request, inputs=request.inputs * torch.nan), draws)
    when = {
        NAMES[0]: range(20),
        NAMES[1]: range(3),
        "long": range(2, 5),  # has moved to the place of the one before
        NAMES[2]: range(5, 20),
        NAMES[3]: range(5, 20),
    }
    said = choir.speak(when, long=not_numbers)
    assert lengths(said) == {NAMES[0]: 20, NAMES[1]: 3, NAMES[2]: 15, NAMES[3]: 15}
    choir.assert_as_alone(said)
