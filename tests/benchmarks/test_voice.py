"""The benchmark of playback, for a single item."""

from __future__ import annotations

import pytest

from benchmarks.voice_run import ITEM_SECONDS, measure

PACKETS_A_SECOND = 50


@pytest.mark.realtime
def test_one_item_is_measured_from_the_command_to_its_last_packet() -> None:
    figures = measure(guilds=1, rounds=1)
    assert figures["items"] == 1
    assert figures["underruns"] == 0
    assert figures["packets"] == pytest.approx(ITEM_SECONDS * PACKETS_A_SECOND, rel=0.05)
    assert 0 < figures["overhead_p50_ms"] < 5_000
