"""What people hear, and what they are told, where speech comes more slowly than it is heard."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from tests.support.marked_speech import (
    CHUNK_SECONDS,
    account,
    item_text,
    passages,
    repeated_seconds,
    silence_within,
    unheard_seconds,
)
from tests.support.voice_guild import SPOKEN, eventually, last_word

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.support.marked_speech import MarkedBackend
    from tests.support.voice_guild import Speaker, VoiceGuild

pytestmark = [pytest.mark.realtime, pytest.mark.slow]

STARTS = re.compile(r"it starts in (a few|about \d+) seconds\.")


def at_a_rate(rate: float) -> Callable[[int, float], Awaitable[None]]:
    """Speech that comes so many times as fast as it is heard."""

    async def slowly(_item: int, _offset: float) -> None:
        await asyncio.sleep(CHUNK_SECONDS / rate)

    return slowly


async def is_heard_without_holes(guild: VoiceGuild, item: int, seconds: float) -> None:
    heard = await guild.call.heard()
    (passage,) = [row for row in passages(heard) if row.item == item]
    assert silence_within(heard, passage) == 0
    assert unheard_seconds(heard, item, seconds) == 0
    assert account(heard, item, seconds).silence_before >= 0.18


async def test_slow_speech_is_heard_without_holes(
    guild: VoiceGuild, backend: MarkedBackend, ada: Speaker
) -> None:
    backend.on_chunk = at_a_rate(0.8)
    answer = await ada.says(1, 5.0)
    assert SPOKEN in (await last_word(answer) or "")
    await is_heard_without_holes(guild, 1, 5.0)
    shown = [str(body) for body in guild.server.requests("PATCH", "@original")]
    assert any(STARTS.search(body) for body in shown), "nobody said how long it would take"


async def test_slow_speech_of_a_queue_is_heard_without_holes(
    guild: VoiceGuild, backend: MarkedBackend, ada: Speaker, grace: Speaker
) -> None:
    backend.on_chunk = at_a_rate(0.8)
    answers = [await ada.says(1, 3.0), await grace.says(2, 4.0), await ada.says(3, 2.0)]
    for answer in answers:
        assert SPOKEN in (await last_word(answer) or "")
    for item, seconds in ((1, 3.0), (2, 4.0), (3, 2.0)):
        await is_heard_without_holes(guild, item, seconds)


async def test_with_a_file_as_well_the_wait_is_told_too(
    guild: VoiceGuild, backend: MarkedBackend, ada: Speaker
) -> None:
    backend.on_chunk = at_a_rate(0.5)
    answer = await ada.types("say", text=item_text(1, 3.0), where="voice", format="ogg")
    await eventually(lambda: SPOKEN in answer.told)
    await is_heard_without_holes(guild, 1, 3.0)
    shown = [str(body) for body in guild.server.requests("PATCH", "@original")]
    assert any(STARTS.search(body) for body in shown)


async def test_a_connection_that_breaks_meanwhile_costs_nothing(
    guild: VoiceGuild, backend: MarkedBackend, ada: Speaker
) -> None:
    backend.on_chunk = at_a_rate(0.5)
    answer = await ada.says(1, 3.0)
    await eventually(lambda: "it starts in" in answer.told)
    await guild.call.close(4006)
    assert SPOKEN in (await last_word(answer) or "")
    await is_heard_without_holes(guild, 1, 3.0)
    assert repeated_seconds(await guild.call.heard(), 1) == 0


async def test_stop_works_while_it_waits(
    guild: VoiceGuild, backend: MarkedBackend, ada: Speaker
) -> None:
    backend.on_chunk = at_a_rate(0.4)
    answer = await ada.says(1, 4.0)
    await eventually(lambda: "it starts in" in answer.told)
    await ada.presses(answer.private, "Stop")
    assert await last_word(answer) == "Stopped, as you asked."
    await asyncio.sleep(1.0)
    assert not passages(await guild.call.heard())
