"""A short random test; `python -m tests.playback.storm --minutes 10` runs a long one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bot.errors import Reason, Refusal
from bot.interface.wording.sentences import explain
from tests.playback.storm import storm
from tests.support.explanations import Cause, explains

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        (Reason.DISCONNECTED, Cause.KICK),
        (Reason.MOVED_AWAY, Cause.DRAG),
        (Reason.VOICE_CONNECTION_LOST, Cause.LOSS),
        (Reason.NO_VOICE_CONNECTION, Cause.LOSS),
        (Reason.PARTLY_UNHEARD, Cause.SILENCE),
        (Reason.RECONNECTING, Cause.NEW_SESSION),
        (Reason.VOICE_RATE_LIMITED, Cause.RATE_LIMIT),
    ],
)
def test_a_sentence_explains_only_what_has_happened(reason: Reason, cause: Cause) -> None:
    words = explain(Refusal(reason))
    assert explains(words, {cause})
    assert not explains(words, set(Cause) - {cause})


@pytest.mark.realtime
@pytest.mark.lasts(35)
@pytest.mark.slow
async def test_every_item_is_heard_once_or_explained(tmp_path: Path) -> None:
    reports = await storm(tmp_path, seconds=20.0, seed=1, modes=["no udp", "pong", "slow"])
    for mode, report in reports.items():
        assert report.is_good, f"{mode}\n{report}"
    assert sum(report.heard for report in reports.values()) > 5
    assert sum(report.faults.total() for report in reports.values()) > 3
