"""A stream of speech at another speed: sentences stay what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bot.streaming import SpeechChunk, collect
from bot.tempo import at_speed
from tests.support.sounds import RATE, voice

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

TENTH = RATE // 10


def sentence(number: int, tenths: int, *, last: bool = False) -> list[SpeechChunk]:
    pcm = voice(tenths / 10).tobytes()
    return [
        SpeechChunk(
            pcm[2 * TENTH * at : 2 * TENTH * (at + 1)],
            RATE,
            number,
            ends_sentence=at == tenths - 1 and not last,
            loudness=-20.0 - number,
        )
        for at in range(tenths)
    ]


async def stream(given: Sequence[SpeechChunk]) -> AsyncGenerator[SpeechChunk, None]:
    for chunk in given:
        yield chunk


async def heard(given: Sequence[SpeechChunk], speed: float) -> list[SpeechChunk]:
    return [chunk async for chunk in at_speed(stream(given), speed)]


def seconds(chunks: Sequence[SpeechChunk], number: int) -> float:
    return sum(len(chunk.pcm) for chunk in chunks if chunk.sentence == number) / 2 / RATE


@pytest.mark.parametrize("speed", [0.5, 2.0])
async def test_each_sentence_changes_by_itself(speed: float) -> None:
    chunks = await heard([*sentence(1, 12), *sentence(2, 20, last=True)], speed)
    assert seconds(chunks, 1) == pytest.approx(1.2 / speed, abs=0.05)
    assert seconds(chunks, 2) == pytest.approx(2.0 / speed, abs=0.05)
    assert [chunk.sentence for chunk in chunks if chunk.ends_sentence] == [1]
    assert {chunk.loudness for chunk in chunks if chunk.sentence == 2} == {-22.0}
    assert all(chunk.pcm for chunk in chunks)


async def test_the_first_sound_comes_with_the_first_tenths() -> None:
    chunks = at_speed(stream(sentence(1, 40, last=True)), 2.0)
    first = await anext(chunks)
    assert len(first.pcm) / 2 / RATE < 0.2, "it does not wait for the sentence"
    await chunks.aclose()


async def test_the_speed_of_the_voice_itself_changes_nothing() -> None:
    given = [*sentence(1, 5), *sentence(2, 5, last=True)]
    assert await heard(given, 1.0) == given


@pytest.mark.parametrize("dropped", [1, 3, 7])
async def test_a_sentence_that_begins_again_is_heard_once(dropped: int) -> None:
    again = sentence(2, 20, last=True)
    again[0] = SpeechChunk(again[0].pcm, RATE, 2, restarts=True)
    given = [*sentence(1, 10), *sentence(2, 20)[:dropped], *again]
    speech = await collect(at_speed(stream(given), 2.0), on_sentence=lambda _number: None)
    assert speech.seconds == pytest.approx(1.5, abs=0.1)
