"""Measures prompts: how long one takes, and several that arrive at the same time."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from backend.engine.batch import Batch, Row
from backend.engine.prefill_plan import GPU_PREFILL
from benchmarks.gpu.models import batch_of, decode_until_all_speak

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.engine.engine import Engine
    from backend.engine.prefill_plan import PrefillPlan
    from backend.engine.prompt_embeds import PreparedRequest
    from benchmarks.gpu.setup import Setup

_ONE_BY_ONE = replace(GPU_PREFILL, rows=1)
_AT_ONCE = (8, 16)


class _NewRow(Row):
    """A row that nobody has heard yet."""

    @property
    def is_heard(self) -> bool:
        return False


def prompts(setup: Setup, name: str) -> dict[str, Any]:
    """Measure the time until the first codes of one row, and of rows that begin together.

    Those are measured with their prompts in as few passes as there can be, and one by one.
    """
    engine = setup.models.engine(name)
    one = _one_prompt(setup, engine)
    setup.report.line(
        f"{name} a prompt",
        f"{one['positions']:.0f} positions: {one['prepare_ms']:.1f} ms to prepare, then "
        f"{one['prefill_ms']:.1f} until the first code",
    )
    found: dict[str, Any] = dict(one)
    for rows in (3,) if setup.models.is_miniature else _AT_ONCE:
        if rows > engine.rows:
            continue
        prepared = [engine.prepare(setup.models.request(engine, row)) for row in range(rows)]
        told = []
        for way, plan in (("together", GPU_PREFILL), ("one by one", _ONE_BY_ONE)):
            work = partial(_until_all_speak, engine, prepared, plan)
            milliseconds = setup.clock.milliseconds(work, 2 if setup.models.is_miniature else 5)
            kernels = setup.clock.kernels(work)["kernels"]
            found[f"{rows} {way}"] = {"ms": milliseconds, "kernels": kernels, "waits": work()}
            told.append(f"{way} {milliseconds:.1f} ms, {kernels} kernels, {work()} waits")
        setup.report.line(f"{name} {rows} prompts at once", "; ".join(told))
    return found


def _one_prompt(setup: Setup, engine: Engine) -> dict[str, float]:
    """The milliseconds to prepare a request, and from then until its first code is read."""
    request = setup.models.request(engine)
    prepare_ms = setup.clock.milliseconds(lambda: engine.prepare(request))
    laps = []
    for _ in range(5):
        batch, (row,) = batch_of(engine, [request], engine.graphs)
        setup.clock.wait()
        began = time.perf_counter()
        decode_until_all_speak(batch, 1)
        laps.append((time.perf_counter() - began) * 1_000)
        batch.remove(row)
    return {
        "positions": float(len(row.request.inputs)),
        "prepare_ms": prepare_ms,
        "prefill_ms": median(laps),
    }


def _until_all_speak(engine: Engine, prepared: Sequence[PreparedRequest], plan: PrefillPlan) -> int:
    """Decode rows that begin together until all have a code; return how often that waits."""
    if engine.step is None:
        raise ValueError("the package's own loop has no step")
    batch = Batch[Row](engine.step, rows=len(prepared), graphs=engine.graphs, prefill=plan)
    for each in prepared:
        batch.add(_NewRow(each))
    waits = 1
    while len(batch.next_codes()) < len(prepared):
        batch.decode_step()
        waits += 1
    return waits
