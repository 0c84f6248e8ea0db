"""Limits as people in voice channels meet them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from bot.guilds.records import Scope
from tests.support.discord_server import open_server
from tests.support.marked_speech import MarkedBackend, item_text
from tests.support.voice_guild import SPOKEN, eventually, last_word, open_voice

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.realtime


async def test_the_bot_is_in_so_many_voice_channels_at_once(tmp_path: Path) -> None:
    async with (
        open_server(tmp_path, MarkedBackend(), voice_channels=1) as server,
        open_voice(server, guilds=2) as world,
    ):
        here, there = world.guilds
        ada, grace = await here.speaker("ada"), await there.speaker("grace")
        for item in (1, 2):
            told = await last_word(await ada.says(item, 0.4))
            assert told is not None
            assert SPOKEN in told
        refused = await last_word(await grace.says(3, 0.4))
        assert refused is not None
        assert refused.startswith("I'm in as many voice channels as I can be at once (1).")
        assert there.bot_is_in is None
        await here.send_bot_away()
        told = await last_word(await grace.says(4, 0.4))
        assert told is not None
        assert SPOKEN in told


async def test_live_speech_counts_when_it_is_queued(tmp_path: Path) -> None:
    async with (
        open_server(tmp_path, MarkedBackend(), seconds_per_person=39) as server,
        open_voice(server) as world,
    ):
        (guild,) = world.guilds
        ada = await guild.speaker("ada")
        heard = await ada.types("say", text=item_text(1, 1.0))
        await eventually(lambda: bool(server.bot.players.entries()))
        refused = await ada.types("say", text=". ".join([item_text(2, 1.0)] * 20))
        words = await last_word(refused)
        assert words is not None
        assert re.search("you have 3[78] seconds left today", words)  # what was said may be known
        told = await last_word(heard)
        assert told is not None
        assert SPOKEN in told
        ledger, usage = server.bot.policy.ledger, server.bot.policy.usage
        await ledger.written()
        assert (await usage.today(Scope.PERSON, ada.actor.id)).seconds == pytest.approx(1, abs=0.2)
