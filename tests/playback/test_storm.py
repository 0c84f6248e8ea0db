"""A short random test; `python -m tests.playback.storm --minutes 10` runs a long one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.playback.storm import storm

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.realtime


@pytest.mark.slow
async def test_every_item_is_heard_or_explained(tmp_path: Path) -> None:
    report = await storm(tmp_path, seconds=75.0, seed=1)
    assert not report.lost, str(report)
    assert report.heard > 30
    assert report.faults.total() > 15
