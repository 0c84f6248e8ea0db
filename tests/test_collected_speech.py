"""A file is a collected stream: what it sounds like, and where it may be cut."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract import GenerationFailedError, PcmChunk, VoicePrompt
from bot.audio.pauses import PARAGRAPH_PAUSE_SECONDS, SENTENCE_PAUSE_SECONDS
from bot.streaming import SharedStream, Speech, SpeechChunk, collect, stream_speech
from bot.text import Sentence
from tests.support.scripted_backend import ScriptedBackend
from tests.support.sounds import LOUD, RATE, pauses, quiet, sentence, voice

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from numpy.typing import NDArray

    from backend.contract import SpeechRequest

PROMPT = VoicePrompt(b"300", "scripted/1")
Spoken = list[tuple[bytes, bool]]
"""What the model says for each sentence, and whether the sentence ends its paragraph."""


class Reader(ScriptedBackend):
    """Answers each sentence, whose text is its number, with what a test gives it."""

    def __init__(self, spoken: Spoken, sample_rate: int) -> None:
        super().__init__()
        self._spoken = spoken
        self._sample_rate = sample_rate

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
        pcm, _ = self._spoken[int(request.text)]
        for at in range(0, max(1, len(pcm)), 3_840):
            yield PcmChunk(pcm[at : at + 3_840], self._sample_rate)


async def collected(spoken: Spoken, sample_rate: int = RATE) -> Speech:
    sentences = [Sentence(str(number), ends) for number, (_, ends) in enumerate(spoken)]
    speech = stream_speech(Reader(spoken, sample_rate), sentences, PROMPT, language="English")
    return await collect(speech, on_sentence=lambda _number: None)


async def spoken_with_silences(spoken: list[tuple[bytes, Sentence]]) -> Speech:
    """What is heard of sentences, whose texts are their numbers."""
    reader = Reader([(pcm, False) for pcm, _ in spoken], RATE)
    sentences = [sentence for _, sentence in spoken]
    speech = stream_speech(reader, sentences, PROMPT, language="English")
    return await collect(speech, on_sentence=ignore)


def samples(speech: Speech) -> NDArray[np.int16]:
    return np.frombuffer(speech.pcm, "<i2")


async def test_pauses_sound_the_same_whatever_silence_surrounds_a_sentence() -> None:
    silences = [(0, 0), (1, 0.3), (0.02, 2), (0.5, 0.01)]
    speech = await collected([(sentence(before, 1, after), False) for before, after in silences])
    assert pauses(speech.pcm) == pytest.approx([SENTENCE_PAUSE_SECONDS] * 3, abs=0.03)


async def test_a_paragraph_ends_with_a_longer_pause() -> None:
    speech = await collected([(sentence(0.2, 1, 0.2), ends) for ends in (False, True, True)])
    assert pauses(speech.pcm) == pytest.approx(
        [SENTENCE_PAUSE_SECONDS, PARAGRAPH_PAUSE_SECONDS], abs=0.03
    )
    assert speech.seconds == pytest.approx(3 + sum(pauses(speech.pcm)) + 2 * 0.06, abs=0.2)


@pytest.mark.parametrize("ends_paragraph", [False, True])
async def test_breaks_lie_within_the_pauses(ends_paragraph: bool) -> None:
    speech = await collected([(sentence(0.4, 1, 0.1), ends_paragraph)] * 3)
    assert len(speech.breaks) == 2
    reach = round(RATE * (SENTENCE_PAUSE_SECONDS / 2 - 0.03))
    for position in speech.breaks:
        around = samples(speech)[position - reach : position + reach]
        assert np.abs(around).max() < LOUD
        assert np.abs(samples(speech)[position:][: 2 * reach]).max() > LOUD, "speech goes on soon"


async def test_nothing_clicks() -> None:
    speech = await collected([(sentence(0, 0.5, 0), False)] * 3)  # loud to the very edge
    gain = np.abs(samples(speech)).max() / np.abs(voice(0.5)).max()
    steepest_in_the_voice = np.abs(np.diff(voice(0.5).astype(int))).max() * gain
    steps = np.diff(samples(speech).astype(int), prepend=0, append=0)
    assert np.abs(steps).max() <= steepest_in_the_voice + 1


async def test_soft_endings_stay() -> None:
    ending = (np.sin(np.arange(round(0.2 * RATE)) / 3) * 200).astype("<i2")  # 32 dB softer
    speech = await collected([(np.concatenate([voice(1), ending, quiet(1)]).tobytes(), False)])
    (sounding,) = np.nonzero(np.abs(samples(speech)) > 100)
    assert (sounding[-1] - sounding[0]) / RATE == pytest.approx(1.2, abs=0.03)


async def test_pauses_within_a_sentence_stay() -> None:
    pcm = np.concatenate([voice(1), quiet(0.8), voice(1)]).tobytes()
    speech = await collected([(pcm, False)])
    assert pauses(speech.pcm) == pytest.approx([0.8], abs=0.02)


async def test_silence_that_was_asked_for_is_heard() -> None:
    said, nothing = sentence(0.2, 1, 0.2), quiet(1).tobytes()
    speech = await spoken_with_silences(
        [
            (nothing, Sentence("0", ends_paragraph=False, silence_before=0.5, silence_after=0.5)),
            (said, Sentence("1", ends_paragraph=True, silence_after=2)),
            (said, Sentence("2", ends_paragraph=False, silence_after=0.1)),
            (said, Sentence("3", ends_paragraph=False, silence_after=1)),
            (nothing, Sentence("4", ends_paragraph=False, silence_after=0.5)),
            (said, Sentence("5", ends_paragraph=True, silence_after=4)),
        ]
    )
    loud = np.flatnonzero(np.abs(samples(speech)) > LOUD) / RATE
    assert loud[0] == pytest.approx(1, abs=0.03)
    assert pauses(speech.pcm) == pytest.approx([2, SENTENCE_PAUSE_SECONDS, 1.5], abs=0.03)
    assert speech.seconds - loud[-1] == pytest.approx(4, abs=0.03)
    assert len(speech.breaks) == 3


async def test_silence_before_a_sentence_that_restarts_is_heard_once() -> None:
    said = np.frombuffer(sentence(0.2, 1, 0.2), "<i2")

    class Restarting(ScriptedBackend):
        async def speak(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
            del request
            yield PcmChunk(said[: len(said) // 2].tobytes(), RATE)
            yield PcmChunk(said.tobytes(), RATE, restarts=True)

    begins = [Sentence("0", ends_paragraph=True, silence_before=2)]
    stream = stream_speech(Restarting(), begins, PROMPT, language="English")
    speech = await collect(stream, on_sentence=ignore)
    loud = np.flatnonzero(np.abs(samples(speech)) > LOUD) / RATE
    assert (loud[0], loud[-1] - loud[0]) == pytest.approx((2, 1), abs=0.03)


@pytest.mark.parametrize("pcm", [b"", bytes(2), quiet(1).tobytes()])
async def test_a_sentence_without_sound_leaves_no_gap(pcm: bytes) -> None:
    said = sentence(0.2, 1, 0.2)
    speech = await collected(
        [(pcm, False), (said, False), (pcm, True), (said, False), (pcm, False)]
    )
    assert pauses(speech.pcm) == pytest.approx([PARAGRAPH_PAUSE_SECONDS], abs=0.03)
    assert len(speech.breaks) == 1


async def test_without_any_sound_there_is_no_speech() -> None:
    with pytest.raises(GenerationFailedError):
        await collected([(quiet(1).tobytes(), False)])


@given(
    st.lists(
        st.tuples(st.binary(max_size=400).map(lambda pcm: pcm[: len(pcm) // 2 * 2]), st.booleans()),
        max_size=6,
    ),
    st.sampled_from([8_000, 24_000, 48_000]),
)
def test_any_samples_can_be_collected(spoken: Spoken, sample_rate: int) -> None:
    try:
        speech = asyncio.run(collected(spoken, sample_rate))
    except GenerationFailedError:
        return
    assert len(speech.pcm) % 2 == 0
    assert list(speech.breaks) == sorted(set(speech.breaks))
    assert all(0 < position < len(speech.pcm) // 2 for position in speech.breaks)
    assert len(speech.breaks) <= max(0, len(spoken) - 1)


def chunk(of: bytes, number: int, *, restarts: bool = False) -> SpeechChunk:
    return SpeechChunk(of * 5_000, RATE, number, restarts)


CHUNKS = [
    chunk(b"a\0", 1),
    chunk(b"b\0", 1),
    chunk(b"x\0", 2),
    chunk(b"c\0", 2, restarts=True),
    chunk(b"d\0", 2),
    chunk(b"e\0", 3),
]


async def stream(error: Exception | None = None) -> AsyncGenerator[SpeechChunk, None]:
    for each in CHUNKS:
        await asyncio.sleep(0)
        yield each
    if error is not None:
        raise error


def ignore(_number: int) -> None: ...


async def test_what_came_before_a_restart_is_dropped() -> None:
    numbers: list[int] = []
    speech = await SharedStream(stream()).collect(on_sentence=numbers.append)
    assert speech.pcm == b"".join(  # so faint that it is not levelled
        letter * 5_000 for letter in (b"a\0", b"b\0", b"c\0", b"d\0", b"e\0")
    )
    before_end = round(0.09 * RATE)
    assert speech.breaks == (10_000 - before_end, 20_000 - before_end)
    assert numbers == [1, 2, 3]


async def test_the_next_sentence_is_told_when_one_ends_not_when_the_next_is_heard() -> None:
    numbers: list[int] = []
    told_before: list[list[int]] = []

    async def slow() -> AsyncGenerator[SpeechChunk, None]:
        for number in (1, 2):
            told_before.append(numbers[:])
            yield SpeechChunk(b"aa", RATE, number)
            yield SpeechChunk(b"bb", RATE, number, ends_sentence=True)
        told_before.append(numbers[:])
        yield SpeechChunk(b"cc", RATE, 3)

    await collect(slow(), on_sentence=numbers.append)
    assert told_before == [[1], [1, 2], [1, 2, 3]]
    assert numbers == [1, 2, 3]


async def test_a_stream_that_is_collected_can_be_followed_at_any_time() -> None:
    shared = SharedStream(stream())
    early = asyncio.create_task(followed(shared))
    await shared.collect(on_sentence=ignore)
    assert await early == CHUNKS
    assert await followed(shared) == CHUNKS


async def test_who_follows_gets_the_error_after_what_there_is() -> None:
    shared = SharedStream(stream(GenerationFailedError()))
    speech = await shared.collect(on_sentence=ignore)
    assert isinstance(speech.error, GenerationFailedError)
    got: list[SpeechChunk] = []
    with pytest.raises(GenerationFailedError):
        await follow(shared, got)
    assert got == CHUNKS


async def test_who_follows_is_not_left_waiting_when_collecting_is_cancelled() -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncGenerator[SpeechChunk, None]:
        try:
            yield CHUNKS[0]
            await asyncio.Event().wait()
        finally:
            closed.set()

    shared = SharedStream(endless())
    task = asyncio.create_task(shared.collect(on_sentence=ignore))
    following = asyncio.create_task(followed(shared))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(GenerationFailedError):
        await asyncio.wait_for(following, 10)
    assert closed.is_set(), "the stream's source is stopped as well"


async def follow(shared: SharedStream, got: list[SpeechChunk]) -> None:
    async for each in shared.follow():
        got.append(each)  # noqa: PERF401 - what came before an error counts


async def followed(shared: SharedStream) -> list[SpeechChunk]:
    return [each async for each in shared.follow()]
