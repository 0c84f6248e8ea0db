"""Fault by fault: what a person sees, within how many seconds, and that the next command works.

The bot's production backend and Modal's stock client call a container over a loopback Modal.
"""

from __future__ import annotations

import asyncio
import io
import re
from collections import Counter
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

import pytest
import soundfile
from structlog.testing import capture_logs

from bot.speech.modal import client
from tests.speech.bot_on_modal import LIGHT_APP, open_bot
from tests.support.modal_server import modal_server
from tests.support.recordings import as_file, speech

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from tests.support.discord_server import Answer, Member, Server
    from tests.support.modal_server import ModalServer

SECONDS_OF_A_SENTENCE = 1.2
A_SENTENCE = pytest.approx(SECONDS_OF_A_SENTENCE, abs=0.2)  # with what is put around it
BEGINS_AND_TWO_PARTS = 3
STOP = "Stop"
APP = "qwen3-tts-voice-clone"

pytestmark = [pytest.mark.slow, pytest.mark.realtime, pytest.mark.lasts(60)]


@pytest.fixture(scope="module")
def modal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModalServer]:
    with modal_server(tmp_path_factory.mktemp("modal")) as server:
        asyncio.run(server.deploy(LIGHT_APP))
        yield server


class Notes:
    """What the containers have written since the test began."""

    def __init__(self, modal: ModalServer) -> None:
        self._modal = modal
        self._before = Counter(modal.log().splitlines())

    def count(self, start: str) -> int:
        """How many lines begin so."""
        new = Counter(self._modal.log().splitlines()) - self._before
        return sum(number for line, number in new.items() if line.startswith(start))


@pytest.fixture
def notes(modal: ModalServer) -> Notes:
    return Notes(modal)


@pytest.fixture
async def server(
    modal: ModalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Server]:
    monkeypatch.setenv("MODAL_SERVER_URL", modal.url)
    async with open_bot(tmp_path) as server:
        yield server


@pytest.fixture
async def ada(notes: Notes, server: Server, recording: bytes) -> Member:  # noqa: ARG001 - first
    """Somebody with a saved voice."""
    ada = server.member("ada")
    await ada.clones(recording, name="Ada")
    return ada


@pytest.fixture(scope="module")
def recording() -> bytes:
    return as_file(speech(4.0), 24_000, "wav")


async def seconds_heard(answer: Answer) -> float:
    [file] = await answer.files()
    return float(soundfile.info(io.BytesIO(file)).duration)


async def works_again(member: Member) -> bool:
    answer = await member.types("say", text="Hello there.")
    return await seconds_heard(answer) == A_SENTENCE


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = perf_counter()
    yield
    assert perf_counter() - began < seconds


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - another process decides
            await asyncio.sleep(0.02)


async def test_a_voice_is_cloned_saved_and_spoken_with(ada: Member, notes: Notes) -> None:
    answer = await ada.types("say", text="Hello there. How are you?")
    assert await seconds_heard(answer) == pytest.approx(2 * SECONDS_OF_A_SENTENCE + 0.3, abs=0.3)
    member = f"{ada.server.guild.id}/{ada.actor.id}"
    assert notes.count(f"speaks {member} seeded") >= 2
    assert notes.count(f"prompt {ada.actor.id}") == 1


class TestModalSays:
    async def test_that_the_token_is_no_good(self, ada: Member, modal: ModalServer) -> None:
        modal.faults.credentials_revoked = True
        with within(3):
            answer = await ada.types("say", text="Hello.")
        modal.faults.credentials_revoked = False
        assert answer.told == (
            "The voice engine doesn't let me in. Please tell whoever runs this bot: my key for it "
            "has to be renewed."
        )
        assert await works_again(ada)

    async def test_that_the_quota_is_used_up(
        self, ada: Member, modal: ModalServer, recording: bytes
    ) -> None:
        modal.faults.quota_exhausted = True
        with within(3):
            answer = await ada.types("say", text="Hello.")
        with within(3):
            cloned = await ada.clones(recording)
        modal.faults.quota_exhausted = False
        assert answer.told == cloned.told
        assert answer.told == (
            "The voice engine has reached its quota for now. Please try again later, or ask "
            "whoever runs this bot to raise it."
        )
        assert await works_again(ada)


class TestModalIsAway:
    async def test_refused_connections_are_told_soon_then_at_once_and_heal(
        self, ada: Member, modal: ModalServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with modal.unreachable():
            with within(4):
                answer = await ada.types("say", text="Hello.")
            assert answer.told == (
                "I can't reach the voice engine right now. Please try again in a minute."
            )
            await ada.types("say", text="Hello.")
            with within(2):
                answer = await ada.types("say", text="Hello.")
            assert re.fullmatch(
                r"I can't reach the voice engine right now\. I'll look for it again in about 1\d "
                r"seconds; please try again then\.",
                answer.told,
            )
        breaker = ada.server.bot._speech._calls._breaker  # type: ignore[union-attr]
        monkeypatch.setattr(breaker, "_clock", lambda: perf_counter() + 3_600)
        assert await works_again(ada)

    async def test_silence_is_not_waited_for(
        self, ada: Member, modal: ModalServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client, "REACH_WITHIN_SECONDS", 0.5)
        ada.server.bot._speech._calls._service.forget()  # type: ignore[union-attr]
        modal.faults.answer_delay_seconds = 1.5
        with within(3):
            answer = await ada.types("say", text="Hello.")
        modal.faults.answer_delay_seconds = 0.0
        assert answer.told.startswith("I can't reach the voice engine right now.")
        await asyncio.sleep(1.5)
        assert await works_again(ada)


class TestAContainer:
    async def test_that_has_a_cold_start_is_waited_for_in_sight(
        self, ada: Member, modal: ModalServer
    ) -> None:
        modal.kill_containers()
        ada.server.bot._speech._calls._cold_starts.lost()  # type: ignore[union-attr]
        modal.faults.cold_start_seconds = 4.0
        answer = await ada.types("say", text="Hello.")
        modal.faults.cold_start_seconds = 0.0
        assert len(await answer.files()) == 1
        shown = [body["content"] for body in ada.server.requests("PATCH", "/@original")]
        waking = (
            r"Speaking…\n-# The voice engine began to wake up <t:\d+:R>\. "
            r"That usually takes about 40 s\."
        )
        assert sum(re.fullmatch(waking, words or "") is not None for words in shown) == 1, shown

    async def test_that_dies_in_the_middle_is_told_and_replaced(
        self, ada: Member, modal: ModalServer
    ) -> None:
        speaking = asyncio.create_task(ada.types("say", text="There is a long pause here."))
        await until(lambda: len(modal.calls[-1].chunks) == BEGINS_AND_TWO_PARTS)
        await asyncio.sleep(0.2)
        modal.kill_containers(calls="fail")
        with within(3):
            answer = await speaking
        assert answer.told == (
            "The voice engine broke down while it worked on that. Another one starts by itself, "
            "so please try again in a minute."
        )
        assert await works_again(ada)

    async def test_whose_work_another_takes_over_is_not_noticed(
        self, ada: Member, modal: ModalServer, notes: Notes
    ) -> None:
        speaking = asyncio.create_task(ada.types("say", text="I speak patiently."))
        await until(lambda: notes.count(f"speaks {ada.server.guild.id}") == 2)
        modal.kill_containers()
        answer = await speaking
        assert await seconds_heard(answer) == A_SENTENCE

    async def test_that_is_busy_says_when_to_come_again(self, ada: Member) -> None:
        answer = await ada.types("say", text="Are you busy?")
        assert answer.told == (
            "Many people are speaking right now. Please try again in about 30 seconds."
        )
        assert await works_again(ada)

    async def test_that_has_a_defect_keeps_what_was_typed_to_itself(self, ada: Member) -> None:
        with capture_logs() as logs:
            answer = await ada.types("say", text="There is a defect.")
        assert answer.told == (
            "The voice engine is misconfigured. Please tell whoever runs this bot."
        )
        [failed] = [entry for entry in logs if entry["event"].startswith("a call of the voice")]
        assert failed["call"].startswith("fc-")
        assert "There is a defect" not in str(logs)
        assert await works_again(ada)


class TestADeployment:
    async def test_of_another_model_takes_the_place_of_a_stopped_one(
        self, ada: Member, modal: ModalServer, notes: Notes
    ) -> None:
        """Nobody notices, and saved voices are prepared again. Without any, people are told."""
        modal.stop_app(APP)
        await modal.deploy(LIGHT_APP, env={"MODEL_ID": "light/2"})
        assert await works_again(ada)
        assert ada.server.bot.studio.backend.model_id == "light/2"
        assert notes.count(f"prompt {ada.actor.id}") == 2
        assert await works_again(ada)
        assert notes.count(f"prompt {ada.actor.id}") == 2

        modal.stop_app(APP)
        with within(3):
            answer = await ada.types("say", text="Hello.")
        assert answer.told == (
            "The voice engine isn't set up yet. Please tell whoever runs this bot: it has to be "
            "deployed to Modal. I'll find it by myself once it's there."
        )
        await modal.deploy(LIGHT_APP)
        assert await works_again(ada)


class TestStop:
    async def test_reaches_the_container(self, ada: Member, notes: Notes) -> None:
        guild = ada.server.guild.id
        progress = await ada.begins("say", text="There is a long pause here.")
        await until(lambda: notes.count(f"works {guild}") == 1)
        with within(2):
            stopped = await ada.presses(progress, STOP)
        assert stopped.told == "Stopped, as you asked. Nothing was posted."
        await until(lambda: notes.count(f"cancelled {guild}") == 1)
        assert await works_again(ada)

    async def test_reaches_a_container_that_makes_a_voice_prompt(
        self, ada: Member, notes: Notes, recording: bytes
    ) -> None:
        progress = await ada.begins(
            "clone", audio=("a.wav", recording), permission="own voice", transcript="Slowly."
        )
        await until(lambda: notes.count(f"works {ada.actor.id}") == 1)
        with within(2):
            await ada.presses(progress, STOP)
        await until(lambda: notes.count(f"cancelled {ada.actor.id}") == 1)

    async def test_reaches_a_container_that_was_not_even_up(
        self, ada: Member, modal: ModalServer
    ) -> None:
        modal.kill_containers()
        modal.faults.cold_start_seconds = 2.0
        progress = await ada.begins("say", text="I fall silent.")
        modal.faults.cold_start_seconds = 0.0
        with within(2):
            stopped = await ada.presses(progress, STOP)
        assert stopped.told == "Stopped, as you asked. Nothing was posted."
        await until(lambda: modal.calls[-1].status == "TERMINATED")
        assert await works_again(ada)

    async def test_of_the_bot_itself_reaches_the_container_too(
        self, ada: Member, modal: ModalServer, notes: Notes
    ) -> None:
        await ada.begins("say", text="There is a long pause here.")
        await until(lambda: notes.count(f"works {ada.server.guild.id}") == 1)
        with within(3):
            await ada.server.bot.close()
        assert modal.calls[-1].cancelled
        last = ada.server.requests("PATCH", "/@original")[-1]["content"]
        assert last == "I have to restart now. Please run the command again in a minute."


async def test_help_says_how_the_engine_is_and_starts_no_container(
    server: Server, modal: ModalServer
) -> None:
    grace = server.member("grace")
    modal.kill_containers(calls="fail")
    calls = len(modal.calls)
    answer = await grace.types("help")
    assert answer.private is not None
    [page] = answer.private.embeds
    assert page.fields[-1].value is not None
    assert page.fields[-1].value.startswith("light/1. ")
    assert page.fields[-1].value.endswith("It's ready.")
    assert len(modal.calls) == calls
