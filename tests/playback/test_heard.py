"""What people in a voice channel hear when the bot speaks, judged from the packets."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.discord_server import open_server
from tests.support.marked_speech import (
    MarkedBackend,
    account,
    marked,
    passages,
    repeated_seconds,
    silence_within,
    unheard_seconds,
)
from tests.support.voice_guild import open_voice
from tests.support.voice_server.hearing import FRAME_SECONDS, SAMPLE_RATE
from tests.support.voice_server.modes import MODES
from tests.support.voice_server.spectrum import likeness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.voice_guild import VoiceGuild, VoiceWorld

pytestmark = pytest.mark.realtime

LONGEST_SILENCE = 0.06
PACE = 0.1
"""By which share the speed of what is sent may be off."""

FIRST_PACKET_SECONDS = 0.6
"""After the first chunk. The benchmark measures this closely, on an idle machine."""


@pytest.fixture
async def world(tmp_path: Path, backend: MarkedBackend) -> AsyncIterator[VoiceWorld]:
    async with open_server(tmp_path, backend) as server, open_voice(server, guilds=3) as opened:
        yield opened


@pytest.fixture
def guild(world: VoiceWorld) -> VoiceGuild:
    return world.guilds[0]


async def test_speech_is_heard_completely_and_evenly(guild: VoiceGuild) -> None:
    ada = await guild.speaker("ada")
    await ada.says(1, 3.0)
    heard = await guild.call.heard_until_quiet()
    (passage,) = passages(heard)
    assert passage.item == 1
    assert silence_within(await guild.call.heard(), passage) < LONGEST_SILENCE
    assert passage.marks[-1].offset > 3.0 - 2 * FRAME_SECONDS, "the end was cut"
    assert unheard_seconds(heard, 1, 3.0) == 0
    assert repeated_seconds(heard, 1) <= FRAME_SECONDS
    assert heard.arrivals[-1] - heard.arrivals[0] == pytest.approx(3.0, rel=PACE)
    assert guild.call.unintelligible == 0


async def test_what_is_heard_sounds_like_what_was_produced(guild: VoiceGuild) -> None:
    ada = await guild.speaker("ada")
    await ada.says(2, 3.0)
    heard = await guild.call.heard_until_quiet()
    assert likeness(marked(2, 3.0, SAMPLE_RATE), heard.samples).score > 0.95


async def test_speech_starts_with_the_first_chunk(
    guild: VoiceGuild, backend: MarkedBackend
) -> None:
    async def slowly(_item: int, _offset: float) -> None:
        await asyncio.sleep(0.25)

    ada = await guild.speaker("ada")
    await ada.says(1, 1.0)
    await guild.call.heard_until_quiet()
    backend.on_chunk = slowly
    now = time.time()
    await ada.says(2, 2.0)
    began = await guild.call.begins(since=now)
    assert began - backend.first_chunks[2] < FIRST_PACKET_SECONDS


async def test_a_bot_that_is_left_alone_goes_on_unencrypted(guild: VoiceGuild) -> None:
    """There is nobody to encrypt for, and somebody may come back."""
    ada = await guild.speaker("ada")
    await ada.says(3, 4.0)
    await guild.call.begins()
    await ada.actor.leave_voice()
    await guild.call.listener_leaves()
    heard = await guild.call.heard_until_quiet(quiet_seconds=6.0)
    assert unheard_seconds(heard, 3, 4.0) < 0.2
    encrypted = [frame.is_encrypted for frame in heard.frames]
    assert encrypted[0]
    assert not encrypted[-1]


async def test_speech_waits_until_people_can_decrypt_it(guild: VoiceGuild) -> None:
    guild.call.mode = MODES["slow"]
    ada = await guild.speaker("ada")
    await ada.says(3, 2.0)
    heard = await guild.call.heard_until_quiet(quiet_seconds=1.0)
    assert unheard_seconds(heard, 3, 2.0) == 0
    assert guild.call.unintelligible == 0


async def test_a_short_silence_comes_first(guild: VoiceGuild) -> None:
    """Some clients clip the first 100 to 200 ms of a stream."""
    ada = await guild.speaker("ada")
    await ada.says(1, 1.0)
    await ada.says(2, 1.0)
    await guild.call.heard_until_quiet(quiet_seconds=1.5)
    heard = await guild.call.heard()
    for item in (1, 2):
        assert account(heard, item, 1.0).silence_before >= 0.18


async def test_members_are_served_in_rounds_without_pauses(guild: VoiceGuild) -> None:
    ada, grace, linus = [await guild.speaker(name) for name in ("ada", "grace", "linus")]
    for item in (0, 1, 2):
        await ada.says(item, 1.0)
    await grace.says(10, 1.0)
    await linus.says(20, 1.0)
    heard = await guild.call.heard_until_quiet(quiet_seconds=1.0)
    everything, rows = await guild.call.heard(), passages(heard)
    order = [row.item for row in rows]
    assert sorted(order) == [0, 1, 2, 10, 20], "each is heard once, and in one piece"
    assert [item for item in order if item < 10] == [0, 1, 2]
    assert order[-1] == 2, "every other member's item comes before Ada's third"
    for row in rows:
        assert silence_within(everything, row) < LONGEST_SILENCE
        assert unheard_seconds(heard, row.item, 1.0) == 0
    for before, after in itertools.pairwise(rows):
        assert after.began - before.ended < 1.5


async def test_a_slow_backend_causes_pauses_but_no_noise_and_no_burst(
    guild: VoiceGuild, backend: MarkedBackend
) -> None:
    async def stumbling(_item: int, offset: float) -> None:
        await asyncio.sleep(0.8 if 0.9 < offset < 1.3 else 0.1)

    backend.on_chunk = stumbling
    ada = await guild.speaker("ada")
    await ada.says(4, 3.0)
    heard = await guild.call.heard_until_quiet(quiet_seconds=1.5)
    assert [row.item for row in passages(heard)] == [4], "something else was heard meanwhile"
    assert unheard_seconds(heard, 4, 3.0) < FRAME_SECONDS
    assert repeated_seconds(heard, 4) <= FRAME_SECONDS
    everything = await guild.call.heard()
    spoken = [frame.arrived for frame in everything.frames if not frame.is_end]
    seconds = len(spoken) * FRAME_SECONDS
    assert seconds == pytest.approx(spoken[-1] - spoken[0], rel=PACE), (
        "silence is sent while it waits, and nothing is caught up in a burst"
    )


async def test_guilds_speak_at_once_without_disturbing_each_other(world: VoiceWorld) -> None:
    speakers = [await guild.speaker(f"person{n}") for n, guild in enumerate(world.guilds)]
    for number, speaker in enumerate(speakers):
        await speaker.says(number, 2.0)
    for number, guild in enumerate(world.guilds):
        heard = await guild.call.heard_until_quiet()
        (row,) = passages(heard)
        assert row.item == number
        assert silence_within(await guild.call.heard(), row) < LONGEST_SILENCE
        assert unheard_seconds(heard, number, 2.0) == 0
