"""Loading libopus on a machine whose system has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
import pytest
from structlog.testing import capture_logs

from bot.errors import Reason, Refusal
from bot.playback import opus
from bot.playback.opus import load_opus

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _without_system_library(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = discord.opus._lib
    monkeypatch.setattr(discord.opus, "_lib", None)
    monkeypatch.setattr("ctypes.util.find_library", lambda _name: None)
    yield
    discord.opus._lib = before


def test_the_library_inside_av_is_loaded() -> None:
    load_opus()
    assert discord.opus.is_loaded()
    encoder = discord.opus.Encoder()
    packet = encoder.encode(bytes(encoder.FRAME_SIZE), encoder.SAMPLES_PER_FRAME)
    assert 0 < len(packet) < encoder.FRAME_SIZE


def test_without_any_library_people_are_told_and_the_log_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(opus, "_inside_av", lambda: iter(()))
    with capture_logs() as logs, pytest.raises(Refusal) as refused:
        load_opus()
    assert refused.value.reason is Reason.NO_OPUS
    assert any("install it" in line["event"] for line in logs)
