"""A short random test; `python -m tests.playback.storm --minutes 10` runs a long one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.playback.storm import storm

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.realtime


@pytest.mark.lasts(35)
@pytest.mark.slow
async def test_every_item_is_heard_once_or_explained(tmp_path: Path) -> None:
    reports = await storm(tmp_path, seconds=20.0, seed=1, modes=["no udp", "pong", "slow"])
    for mode, report in reports.items():
        assert report.is_good, f"{mode}\n{report}"
    assert sum(report.heard for report in reports.values()) > 5
    assert sum(report.faults.total() for report in reports.values()) > 3
