"""The arithmetic of the decoder's benchmark, without the measuring."""

from __future__ import annotations

from itertools import pairwise

import pytest

from benchmarks.decoder import TARGETS, Target, judge
from benchmarks.decoding.checkpoints import PLANS
from benchmarks.decoding.memory_limit import gpu_limits, parts_of, published_talker
from benchmarks.decoding.random_arrivals import draw_callers


def test_a_frame_reads_the_talker_once_and_the_code_predictor_fifteen_times() -> None:
    parts = {part.name: part for part in parts_of(published_talker("0.6B"), bytes_per_number=2)}
    # Projections of 16 + 2 x 8 heads of 128 and back, an MLP of 3 x 3,072, and four norms.
    layer = 1_024 * (32 + 16) * 128 + 3 * 1_024 * 3_072 + 2 * 1_024 + 2 * 128
    assert parts["talker"].bytes_per_frame == 2 * (28 * layer + 1_024)
    assert parts["code predictor"].bytes_per_frame == 15 * 2 * (5 * layer + 1_024)
    assert parts["its head"].bytes_per_frame == 2 * 1_024 * 3_072
    assert parts["its heads, each once"].bytes_per_frame == 2 * 15 * 1_024 * 2_048
    assert len(parts) == 4  # both have one width, so that nothing is projected


def test_only_the_large_talker_is_projected_to_the_code_predictor() -> None:
    parts = {part.name: part for part in parts_of(published_talker("1.7B"), bytes_per_number=2)}
    projection = parts["projection to the code predictor"]
    assert projection.times == 15
    assert projection.size == 2 * (2_048 * 1_024 + 1_024)


def test_bytes_are_counted_as_loaded() -> None:
    talker = published_talker("0.6B")
    assert parts_of(talker.double()) == parts_of(talker, bytes_per_number=8)
    assert parts_of(talker.bfloat16()) == parts_of(talker, bytes_per_number=2)


def test_gpus_without_bfloat16_read_twice_as_much() -> None:
    limits = {(limit["checkpoint"], limit["gpu"]): limit for limit in gpu_limits()}
    t4, l4 = limits["0.6B", "T4"], limits["0.6B", "L4"]
    assert (t4["dtype"], l4["dtype"]) == ("float32", "bfloat16")
    assert t4["gigabytes_per_frame"] == pytest.approx(2 * l4["gigabytes_per_frame"])
    assert l4["milliseconds_per_frame"] == pytest.approx(l4["gigabytes_per_frame"] / 300 * 1_000)
    assert l4["times_real_time"] == pytest.approx(80 / l4["milliseconds_per_frame"])


def test_callers_arrive_in_turn_within_the_time_and_the_same_each_time() -> None:
    callers = draw_callers(400, within=2.0, seed=1)
    assert callers == draw_callers(400, within=2.0, seed=1)
    assert callers != draw_callers(400, within=2.0, seed=2)
    assert callers[0].arrives == 0
    assert all(earlier.arrives < later.arrives for earlier, later in pairwise(callers))
    assert callers[-1].arrives == pytest.approx(2.0, rel=0.2)


@pytest.mark.parametrize(
    ("value", "is_least", "is_met"),
    [(2.5, True, True), (2.4, True, False), (2.5, False, True), (2.6, False, False)],
)
def test_targets_are_judged(value: float, *, is_least: bool, is_met: bool) -> None:
    targets = [
        Target("miniature", "callers.8.ratio", 2.5, is_least=is_least),
        Target("another", "callers.8.ratio", 2.5, is_least=is_least),
    ]
    (verdict,) = judge({"miniature": {"callers": {"8": {"ratio": value}}}}, targets)
    assert (verdict["value"], verdict["met"]) == (value, is_met)


def test_every_target_is_of_a_model_that_is_measured() -> None:
    assert {target.model for target in TARGETS} == set(PLANS)
