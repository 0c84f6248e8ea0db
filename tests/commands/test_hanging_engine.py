"""A voice engine on this machine hangs or dies, in many ways and at any moment."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import stat
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from backend.contract import BackendUnavailableError
from bot.speech.worker.host import WorkerBackend
from bot.speech.worker.watch import Limits
from tests.support.discord_server import NO_LIMITS, open_server
from tests.support.hanging_model import WAYS, Accidents, loader
from tests.support.voice_guild import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.discord_server import Answer, Member, Server

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.realtime,
    pytest.mark.slow,
    pytest.mark.lasts(40),
]

LIMITS = Limits(beat=0.05, silence=2.5, doubt=0.3, step=2.0, first_load=60.0, load=60.0, health=0.2)
SOCKETS_OF_A_LOOP = 4
STUCK = (
    "The voice engine got stuck while it worked on that, so I'm starting it again. "
    "Please try again in a minute."
)
BROKEN = (
    "The voice engine broke down while it worked on that. Another one starts by itself, "
    "so please try again in a minute."
)


@pytest.fixture(scope="module")
def accidents(tmp_path_factory: pytest.TempPathFactory) -> Accidents:
    return Accidents(tmp_path_factory.getbasetemp())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    tmp_path_factory: pytest.TempPathFactory,
    accidents: Accidents,  # noqa: ARG001 - in the same folder
) -> AsyncIterator[Server]:
    backend = WorkerBackend(loader(tmp_path_factory.getbasetemp()), limits=LIMITS)
    async with open_server(tmp_path_factory.mktemp("bot"), backend, **NO_LIMITS) as server:
        server.in_real_time()
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ada(server: Server) -> Member:
    ada = server.member("ada")
    await ada.saves_voice()
    return ada


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _works_before(ada: Member) -> None:
    """Let each test begin with an engine that works, whatever another one has left."""
    await speaks_in_the_end(ada)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grace(server: Server) -> Member:
    grace = server.member("grace")
    await grace.saves_voice()
    return grace


def processes() -> set[int]:
    return {child.pid for child in multiprocessing.active_children() if child.pid is not None}


def is_done(answer: Answer) -> bool:
    is_waking = "wake up" in answer.told
    return bool(answer.posted) or (answer.told.endswith(".") and not is_waking)


async def done(answer: Answer) -> Answer:
    await eventually(lambda: is_done(answer))
    return answer


async def says(member: Member, text: str) -> Answer:
    return await done(await member.types("say", text=text))


async def speaks(member: Member, text: str = "Hello there.") -> Answer:
    answer = await says(member, text)
    assert len(await answer.files()) == 1, answer.told
    return answer


async def speaks_in_the_end(member: Member) -> None:
    async with asyncio.timeout(30):
        while not (await says(member, "Hello there.")).posted:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.1)


def is_socket(file: str) -> bool:
    with suppress(OSError):
        return stat.S_ISSOCK(os.fstat(int(file)).st_mode)
    return False


async def replaced(before: set[int]) -> None:
    """Wait until another process serves."""
    await eventually(lambda: len(processes()) == 1 and not processes() & before, within=20.0)


@pytest.mark.parametrize("way", WAYS)
async def test_before_the_first_sound_it_is_replaced_and_nobody_notices(
    ada: Member, accidents: Accidents, way: str
) -> None:
    before = processes()
    accidents.allow(1)
    await speaks(ada, f"I am {way} at first.")
    await replaced(before)  # one that hears nothing any more still speaks


@pytest.mark.parametrize("way", ["stopped", "asleep", "dead"])
async def test_in_the_middle_everybody_who_was_heard_is_told_why(
    ada: Member, grace: Member, accidents: Accidents, way: str
) -> None:
    before = processes()
    accidents.allow(1)
    others = await grace.types("say", text="I speak patiently.")
    await asyncio.sleep(0.2)
    answers = [await ada.types("say", text=f"I am {way} in the middle."), others]
    for answer in answers:
        await done(answer)
        assert answer.told == (BROKEN if way == "dead" else STUCK)
        assert not answer.posted
    await replaced(before)


async def test_what_was_spoken_before_is_posted(ada: Member, accidents: Accidents) -> None:
    accidents.allow(1)
    answer = await speaks(ada, "This is well. I am asleep in the middle.")
    await eventually(lambda: answer.told == STUCK)
    assert "only 1 of 2 sentences" in answer.posted[0].content


async def test_a_voice_is_made_all_the_same(
    ada: Member, accidents: Accidents, recording: bytes
) -> None:
    accidents.allow(1)
    answer = await ada.clones(recording, name="New", transcript="I am stopped at the prompt.")
    await done(answer)
    assert len(await answer.files()) == 1, answer.told


async def test_stop_takes_effect_at_once(ada: Member, accidents: Accidents) -> None:
    before = processes()
    accidents.allow(1)
    answer = await ada.types("say", text="I am stopped at first.")
    await eventually(lambda: "Speaking" in answer.told)
    began = time.monotonic()
    await ada.presses(answer.private, "Stop")
    await eventually(lambda: answer.told == "Stopped, as you asked. Nothing was posted.")
    assert time.monotonic() - began < LIMITS.silence, "it does not wait for that"
    await replaced(before)


async def engine_state(member: Member) -> str:
    answer = await member.types("help")
    await eventually(lambda: answer.private is not None and answer.private.embeds)
    assert answer.private is not None
    [page] = answer.private.embeds
    return str(page.fields[-1].value).split("English. ")[-1]


async def help_comes_to_say(member: Member, words: str) -> None:
    async with asyncio.timeout(20):
        while not (await engine_state(member)).startswith(words):
            pass


async def test_help_tells_a_busy_engine_from_one_that_hangs(
    ada: Member, accidents: Accidents
) -> None:
    busy = await ada.types("say", text="I speak patiently.")
    await help_comes_to_say(ada, "It's ready.")
    assert not is_done(busy)
    assert len(await (await done(busy)).files()) == 1, "it takes longer than any step may"

    before = processes()
    accidents.allow(1)
    accidents.at_loading("waits")
    answer = await ada.types("say", text="I am stopped at first.")
    await help_comes_to_say(ada, "The voice engine hasn't answered for a while.")
    await help_comes_to_say(ada, "The voice engine is waking up.")
    await replaced(before)
    accidents.at_loading("")
    assert len(await (await done(answer)).files()) == 1
    await help_comes_to_say(ada, "It's ready.")


async def test_a_start_is_shown_to_those_who_wait(
    ada: Member, accidents: Accidents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.speech.worker.host.NOTICE_SECONDS", 0.0)
    accidents.allow(1)
    accidents.at_loading("waits")
    answer = await ada.types("say", text="I am dead at first.")
    await eventually(lambda: "The voice engine began to wake up" in answer.told)
    accidents.at_loading("")
    assert len(await (await done(answer)).files()) == 1


async def test_one_that_always_fails_is_left_alone_for_a_while(
    ada: Member, accidents: Accidents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that can't be loaded is not started anew for each command."""
    monkeypatch.setattr("bot.speech.worker.restarts.FIRST_PAUSE_SECONDS", 5.0)
    accidents.at_loading("dead")
    [process] = processes()
    os.kill(process, signal.SIGKILL)
    await eventually(lambda: not processes())
    tried = 0
    while (told := (await says(ada, "Hello.")).told).startswith("The voice engine isn't available"):
        tried += 1
        assert tried <= 3
    accidents.at_loading("")
    resting = (
        "The voice engine keeps breaking down. I'll start it again in about 5 seconds; "
        "please try again then. If it still fails, tell whoever runs this bot."
    )
    assert [told, (await says(ada, "Hello.")).told] == [resting, resting]
    await speaks_in_the_end(ada)


async def test_those_that_were_replaced_leave_no_threads_and_pipes_behind(ada: Member) -> None:
    """All the tests before this one have left some, if any does."""
    await speaks(ada)
    threads = [thread for thread in threading.enumerate() if thread.name == "voice engine"]
    assert len(threads) == 3
    sockets = [file for file in os.listdir("/proc/self/fd") if is_socket(file)]  # noqa: PTH208 - numbers
    assert len(sockets) <= SOCKETS_OF_A_LOOP + 1


@pytest.mark.parametrize("way", ["stopped", "locked", "asleep"])
async def test_a_start_that_hangs_ends_in_a_sentence_for_the_operator(
    tmp_path: Path, way: str
) -> None:
    before = processes()
    Accidents(tmp_path).at_loading(way)
    limits = Limits(beat=0.05, boot=2.0, silence=0.5, first_load=3.0)
    with pytest.raises(BackendUnavailableError, match="got stuck while it was loading"):
        await WorkerBackend(loader(tmp_path), limits=limits).start()
    assert processes() == before
