"""Sentences that are made ahead of their turn."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from backend.contract import GenerationFailedError, SpeechRequest, VoicePrompt
from bot.prefetch import speak_ahead
from tests.support.scripted_backend import ScriptedBackend

if TYPE_CHECKING:
    from backend.contract import BackendInfo

PROMPT = VoicePrompt(b"300", "scripted/1")


class SeveralAtOnce(ScriptedBackend):
    """Notes which sentences it was asked for; they end when a test lets them."""

    def __init__(self, at_once: int) -> None:
        super().__init__()
        self.at_once = at_once
        self.begun: list[str] = []
        self.stopped: list[str] = []
        self.go_on: dict[str, asyncio.Event] = {}
        self.on_speak = self._wait

    def info(self) -> BackendInfo:
        return replace(super().info(), sentences_at_once=self.at_once)

    def ends(self, *texts: str) -> None:
        for text in texts:
            self.go_on.setdefault(text, asyncio.Event()).set()

    async def _wait(self, request: SpeechRequest) -> None:
        self.begun.append(request.text)
        try:
            await self.go_on.setdefault(request.text, asyncio.Event()).wait()
        except asyncio.CancelledError:
            self.stopped.append(request.text)
            raise
        if request.text.startswith("bad"):
            raise GenerationFailedError(request.text)


def requests(*texts: str) -> list[SpeechRequest]:
    return [SpeechRequest(text, PROMPT) for text in texts]


async def lengths(backend: SeveralAtOnce, *texts: str) -> list[int]:
    heard = []
    async with speak_ahead(backend, requests(*texts)) as sentences:
        for sentence in sentences:
            pcm = b"".join([chunk.pcm async for chunk in sentence])
            heard.append(len(pcm))
    return heard


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_they_are_heard_in_order_whichever_is_ready_first() -> None:
    backend = SeveralAtOnce(3)
    hearing = asyncio.ensure_future(lengths(backend, "a", "bb", "ccc", "dddd"))
    await settle()
    assert backend.begun == ["a", "bb", "ccc"]
    backend.ends("ccc", "bb", "dddd")
    await settle()
    assert backend.begun == ["a", "bb", "ccc"], "no more are asked for than may be"
    backend.ends("a")
    heard = await hearing
    assert heard == sorted(heard)
    assert len(set(heard)) == 4


async def test_one_at_a_time_where_the_backend_says_so() -> None:
    backend = SeveralAtOnce(1)
    hearing = asyncio.ensure_future(lengths(backend, "a", "b"))
    await settle()
    assert backend.begun == ["a"]
    backend.ends("a", "b")
    assert len(await hearing) == 2


async def test_what_went_wrong_is_told_in_its_turn_and_ends_the_rest() -> None:
    backend = SeveralAtOnce(3)
    heard: list[str] = []

    async def hear() -> None:
        texts = ("a", "bad b", "c", "d")
        async with speak_ahead(backend, requests(*texts)) as sentences:
            for text, sentence in zip(texts, sentences, strict=True):
                heard.extend([text async for _chunk in sentence])

    hearing = asyncio.ensure_future(hear())
    await settle()
    backend.ends("bad b")
    await settle()
    assert not hearing.done()
    backend.ends("a")
    with pytest.raises(GenerationFailedError, match="bad b"):
        await hearing
    assert heard == ["a"]
    assert backend.stopped == ["c"]
    assert "d" not in backend.begun


async def test_leaving_stops_all_of_them() -> None:
    backend = SeveralAtOnce(3)
    hearing = asyncio.ensure_future(lengths(backend, "a", "bad b", "c"))
    await settle()
    backend.ends("bad b")
    await settle()
    hearing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hearing
    assert sorted(backend.stopped) == ["a", "c"]
