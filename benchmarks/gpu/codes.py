"""Compares codes and states with the plain package's, and replayed steps with run ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from backend.engine.step_graphs import StepSize
from benchmarks.decoding.timed_package import TimedPackage
from benchmarks.gpu.models import batch_of, capture, reference
from benchmarks.gpu.texts import TEXTS, TRANSCRIPT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from backend.contract import SpeechRequest
    from backend.engine.engine import Engine
    from backend.engine.step_graphs import StepGraphs
    from benchmarks.gpu.setup import Setup

_LAST_POSITIONS = 8


def greedy_codes(setup: Setup, name: str, dtype: str) -> dict[str, Any]:
    """Compare greedy codes: the package's, ours run step by step, and ours replayed."""
    frames = 6 if setup.models.is_miniature else 20
    engine = setup.models.greedy_engine(name, dtype)
    package = TimedPackage(
        str(setup.models.folder / f"{name} greedy"),
        device=engine.info().device,
        dtype=dtype,
        attention=engine.info().attention,
        reference=reference(),
        transcript=TRANSCRIPT,
    )
    requests = [
        setup.models.request(engine, number, is_x_vector=bool(number % 2))
        for number in range(len(TEXTS))
    ]
    theirs = [
        package.codes(text, language, frames, is_x_vector=bool(number % 2))
        for number, (language, text) in enumerate(TEXTS)
    ]
    del package
    ours = {
        "run alone": [_codes(engine, [each], None, frames)[0] for each in requests],
        "run together": _codes(engine, requests, None, frames),
    }
    graphs = capture(engine, [StepSize(1, 512), StepSize(len(TEXTS), 512)])
    ours |= {
        "replayed alone": [_codes(engine, [each], graphs, frames)[0] for each in requests],
        "replayed together": _codes(engine, requests, graphs, frames),
        "replayed together again": _codes(engine, requests, graphs, frames),
    }
    pairs = [
        *((way, "the package") for way in ours),
        ("run alone", "replayed alone"),
        ("run alone", "run together"),
        ("run together", "replayed together"),
        ("replayed together", "replayed together again"),
    ]
    all_codes = {**ours, "the package": theirs}
    found: dict[str, Any] = {"graphs": str(graphs)}
    for first, second in pairs:
        differing = [
            first_difference(*each)
            for each in zip(all_codes[first], all_codes[second], strict=True)
        ]
        found[f"{first} / {second}"] = differing
        is_equal = differing == [None] * len(differing)
        setup.report.line(
            f"{name} {dtype} greedy codes, {first} / {second}",
            "equal" if is_equal else f"the first frames that differ: {differing}",
        )
    return found


def first_difference(first: Tensor, second: Tensor) -> int | None:
    """Return the first frame in which two rows' codes differ; None if none does.

    Args:
        first: int64 `(frames, code_groups)`.
        second: The same, of another decoder.
    """
    frames = min(len(first), len(second))
    differing = (first[:frames] != second[:frames]).any(dim=1).nonzero()
    if len(differing):
        return int(differing[0])
    return None if len(first) == len(second) else frames


def state_errors(setup: Setup, name: str) -> dict[str, Any]:
    """Compare states in bfloat16 with float32's: ours, and the package's, for one prompt."""
    rough = setup.models.greedy_engine(name, "bfloat16")
    inputs = rough.prepare(setup.models.request(rough)).inputs
    states = {
        "ours": _our_state(rough, inputs, 0),
        "ours, the last positions one by one": _our_state(rough, inputs, _LAST_POSITIONS),
        "the package's": _package_state(rough, inputs),
    }
    del rough
    setup.models.forget()
    exact = setup.models.greedy_engine(name, "float32")
    expected = _package_state(exact, inputs)
    states["ours in float32"] = _our_state(exact, inputs, 0)
    errors = {
        whose: float((state - expected).norm() / expected.norm()) for whose, state in states.items()
    }
    setup.report.line(
        f"{name} errors of states in bfloat16",
        ", ".join(f"{whose} {error:.1e}" for whose, error in errors.items()),
    )
    return errors


@torch.inference_mode()
def _our_state(engine: Engine, inputs: Tensor, last: int) -> Tensor:
    """The state after a prompt, of which the last positions are decoded one by one."""
    talker = engine.parts.talker
    cache = talker.new_cache(1, len(inputs))
    numbers = inputs.to(engine.parts.text_pad.dtype)
    first = len(numbers) - last
    state = talker.prefill(numbers[:first], cache, 0, 0)
    for position in range(first, len(numbers)):
        length = torch.tensor([position], device=inputs.device)
        one = numbers[position : position + 1]
        state = talker.decode_step(one, cache, length, position + 1)[0]
    return state.double().cpu()


@torch.inference_mode()
def _package_state(engine: Engine, inputs: Tensor) -> Tensor:
    model = engine.package_model.model.talker.model
    states = model(inputs_embeds=inputs.to(model.dtype)[None]).last_hidden_state
    return states[0, -1].double().cpu()  # type: ignore[no-any-return]


def _codes(
    engine: Engine, requests: Sequence[SpeechRequest], graphs: StepGraphs | None, frames: int
) -> list[Tensor]:
    batch, rows = batch_of(engine, requests, graphs)
    said: dict[int, list[Tensor]] = {id(row): [] for row in rows}
    while min(map(len, said.values())) < frames:
        batch.next_codes()
        for row, codes in batch.decode_step():
            said[id(row)].append(codes)
    return [torch.stack(said[id(row)][:frames]).cpu() for row in rows]
