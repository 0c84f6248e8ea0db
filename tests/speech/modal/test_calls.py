"""Calls end in an answer or a reason, within a time, and leave nothing running."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

import modal.exception as modal_errors
import pytest
from structlog.testing import capture_logs

from backend.contract import (
    BackendBusyError,
    BackendUnavailableError,
    PcmChunk,
    SpeechError,
    StreamBegins,
)
from bot.speech.errors import (
    BackendBrokenError,
    BackendDeniesError,
    BackendNotDeployedError,
    BackendQuotaError,
    BackendUnreachableError,
    SpeechInterruptedError,
    SpeechStoppedError,
    SpeechTimeoutError,
    WakingTimeoutError,
)
from bot.speech.modal import call as modal_call
from bot.speech.modal import calls as modal_calls
from bot.speech.modal.calls import Calls
from bot.speech.modal.client import Ask
from tests.speech.fake_modal import FakeModal, answers, fails, waits

if TYPE_CHECKING:
    from bot.speech.modal.client import ModalService
    from tests.speech.fake_modal import Script

SPEAK = Ask("stream_with_prompt", ("Private words.",))
ONE, TWO, THREE = (PcmChunk(bytes([n, 0]), 24_000) for n in (1, 2, 3))
CRASH = modal_errors.InternalFailure("the container is gone")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modal_calls, "_PAUSE_BEFORE_REPEATING", 0.0)
    monkeypatch.setattr(modal_call, "LOOK_EVERY_SECONDS", 0.02)


def calls_of(modal: FakeModal, places: int = 10) -> Calls:
    return Calls(cast("ModalService", modal), places=places)


async def spoken(calls: Calls, caller: str = "guild") -> list[PcmChunk]:
    async with aclosing(calls.stream(SPEAK, caller=caller)) as chunks:
        return [chunk async for chunk in chunks]


async def reason(calls: Calls) -> SpeechError:
    with pytest.raises(SpeechError) as caught:
        await spoken(calls)
    return caught.value


async def until_cancelled(modal: FakeModal, *call_ids: str) -> None:
    async with asyncio.timeout(5):
        while modal.cancelled != list(call_ids):  # noqa: ASYNC110 - a fake without events
            await asyncio.sleep(0)


class TestAnswers:
    async def test_come_as_they_are_made(self) -> None:
        later = asyncio.Event()
        modal = FakeModal(answers(ONE, later, TWO))
        async with aclosing(calls_of(modal).stream(SPEAK, caller="guild")) as chunks:
            assert await anext(chunks) == ONE
            later.set()
            assert [chunk async for chunk in chunks] == [TWO]
        await asyncio.sleep(0)
        assert not modal.cancelled

    async def test_of_a_call_that_another_container_took_over_begin_anew(self) -> None:
        modal = FakeModal(answers(ONE, TWO, StreamBegins("fc-1"), THREE, ONE))
        chunks = await spoken(calls_of(modal))
        assert [(chunk.pcm[0], chunk.restarts) for chunk in chunks] == [
            (1, False),
            (2, False),
            (3, True),
            (1, False),
        ]


class TestStopping:
    async def test_in_the_middle_stops_the_work(self) -> None:
        modal = FakeModal(answers(ONE, asyncio.Event()))
        stream = calls_of(modal).stream(SPEAK, caller="guild")
        await anext(stream)
        await stream.aclose()
        await until_cancelled(modal, "fc-1")

    async def test_while_waiting_stops_the_work(self) -> None:
        modal = FakeModal(answers(ONE, asyncio.Event()))
        task = asyncio.create_task(spoken(calls_of(modal)))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until_cancelled(modal, "fc-1")

    async def test_before_any_container_took_the_call_stops_it_once_one_does(self) -> None:
        awake = asyncio.Event()
        modal = FakeModal(waits(awake, answers(ONE, asyncio.Event())))
        task = asyncio.create_task(spoken(calls_of(modal)))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not modal.cancelled
        awake.set()
        await until_cancelled(modal, "fc-1")

    async def test_frees_the_place_at_once(self) -> None:
        modal = FakeModal(waits(asyncio.Event(), answers()), answers(ONE))
        calls = calls_of(modal, places=1)
        task = asyncio.create_task(spoken(calls))
        await asyncio.sleep(0.01)
        task.cancel()
        async with asyncio.timeout(1):
            assert await spoken(calls) == [ONE]

    async def test_a_voice_that_is_being_learned_stops_the_work(self) -> None:
        modal = FakeModal(answers(asyncio.Event()))
        task = asyncio.create_task(calls_of(modal).result(Ask("x"), caller="guild"))
        await asyncio.sleep(0.01)
        task.cancel()
        await until_cancelled(modal, "fc-1")

    async def test_the_bot_stops_what_is_under_way_and_tells_who_waits(self) -> None:
        modal = FakeModal(answers(ONE, asyncio.Event()))
        calls = calls_of(modal, places=1)
        tasks = [asyncio.create_task(spoken(calls)) for _ in range(2)]
        await asyncio.sleep(0.01)
        await calls.close()
        assert modal.cancelled == ["fc-1"]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [BackendUnavailableError] * 2

    async def test_the_bot_does_not_wait_long_for_a_call_without_a_name(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(modal_calls, "SECONDS_TO_CANCEL_AT_CLOSE", 0.05)
        calls = calls_of(FakeModal(waits(asyncio.Event(), answers())))
        task = asyncio.create_task(spoken(calls))
        await asyncio.sleep(0.01)
        with capture_logs() as logs:
            await calls.close()
        assert [(entry["event"], entry["calls"]) for entry in logs] == [
            ("calls may still run remotely", 1)
        ]
        with pytest.raises(BackendUnavailableError):
            await task


class TestFailures:
    @pytest.mark.parametrize(
        ("error", "meaning"),
        [
            (modal_errors.NotFoundError("no such app"), BackendNotDeployedError),
            (modal_errors.ConflictError("app is stopped"), BackendNotDeployedError),
            (modal_errors.AuthError("bad token"), BackendDeniesError),
            (modal_errors.PermissionDeniedError("no"), BackendDeniesError),
            (modal_errors.ResourceExhaustedError("spending limit"), BackendQuotaError),
            (modal_errors.ConnectionError("refused"), BackendUnreachableError),
            (modal_errors.ServiceError("unavailable"), BackendUnreachableError),
            (OSError("broken pipe"), BackendUnreachableError),
            (modal_errors.FunctionTimeoutError("300 s"), SpeechTimeoutError),
            (modal_errors.RemoteError("Function call was cancelled"), SpeechStoppedError),
            (modal_errors.RemoteError("Container terminated"), SpeechInterruptedError),
            (CRASH, SpeechInterruptedError),
            (BackendBusyError(12.0), BackendBusyError),
            (RuntimeError("Private words."), BackendBrokenError),
        ],
    )
    async def test_each_has_its_meaning_and_one_line_in_the_log(
        self, error: Exception, meaning: type[SpeechError]
    ) -> None:
        modal = FakeModal(answers(ONE, error, call_id="fc-7"))
        with capture_logs() as logs:
            assert type(await reason(calls_of(modal))) is meaning
        [entry] = logs
        assert (entry["call"], entry["method"]) == ("fc-7", "stream_with_prompt")
        assert entry["failure"] == meaning.__name__
        assert "Private words." not in str(logs)

    async def test_of_the_connection_stop_what_may_still_run(self) -> None:
        modal = FakeModal(answers(ONE, modal_errors.ServiceError("reset")))
        await reason(calls_of(modal))
        await until_cancelled(modal, "fc-1")

    async def test_of_the_connection_are_noticed_while_waiting_for_an_answer(self) -> None:
        modal = FakeModal(answers(ONE, asyncio.Event()))
        stream = calls_of(modal).stream(SPEAK, caller="guild")
        await anext(stream)
        modal.unreachable = BackendUnreachableError("no answer")
        async with asyncio.timeout(1):
            with pytest.raises(BackendUnreachableError):
                await anext(stream)

    async def test_of_a_single_look_are_forgiven_while_waiting_for_an_answer(self) -> None:
        later = asyncio.Event()
        modal = FakeModal(answers(ONE, later, TWO))
        stream = calls_of(modal).stream(SPEAK, caller="guild")
        await anext(stream)
        modal.fails_once = BackendUnreachableError("no answer")
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.05)
        later.set()
        assert await waiting == TWO
        assert modal.fails_once is None, "it did look"

    async def test_an_app_that_is_taken_down_is_noticed_while_waiting_for_a_container(self) -> None:
        modal = FakeModal(waits(asyncio.Event(), answers()))
        task = asyncio.create_task(reason(calls_of(modal)))
        await asyncio.sleep(0.01)
        modal.unreachable = modal_errors.NotFoundError("no such app")
        async with asyncio.timeout(1):
            assert type(await task) is BackendNotDeployedError


class TestDeadlines:
    async def test_a_container_that_never_comes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(modal_calls, "WAKE_WITHIN_SECONDS", 0.1)
        modal = FakeModal(waits(asyncio.Event(), answers()))
        assert type(await reason(calls_of(modal))) is WakingTimeoutError

    async def test_an_answer_that_stops_coming_is_stopped(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(modal_calls, "ANSWER_WITHIN_SECONDS", 0.1)
        modal = FakeModal(answers(ONE, asyncio.Event()))
        assert type(await reason(calls_of(modal))) is SpeechTimeoutError
        await until_cancelled(modal, "fc-1")

    async def test_the_time_that_a_listener_takes_does_not_count(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(modal_calls, "ANSWER_WITHIN_SECONDS", 0.1)
        async with aclosing(
            calls_of(FakeModal(answers(ONE, TWO))).stream(SPEAK, caller="guild")
        ) as chunks:
            await anext(chunks)
            await asyncio.sleep(0.15)
            assert await anext(chunks) == TWO


class TestRepeating:
    @pytest.mark.parametrize(
        "first",
        [
            fails(modal_errors.NotFoundError("stale handle")),
            fails(modal_errors.ConnectionError("reset")),
            fails(CRASH),
            answers(CRASH),
        ],
    )
    async def test_is_done_once_while_nothing_was_heard(self, first: Script) -> None:
        modal = FakeModal(first, answers(ONE, TWO))
        assert await spoken(calls_of(modal)) == [ONE, TWO]
        assert len(modal.asked) == 2
        assert modal.asked[0] is modal.asked[1], "the same seed, too"

    async def test_a_stale_handle_is_looked_up_again(self) -> None:
        modal = FakeModal(fails(modal_errors.NotFoundError("stale handle")), answers(ONE))
        await spoken(calls_of(modal))
        assert modal.forgotten

    async def test_is_not_done_a_second_time(self) -> None:
        modal = FakeModal(answers(CRASH))
        assert type(await reason(calls_of(modal))) is SpeechInterruptedError
        assert len(modal.asked) == 2

    @pytest.mark.parametrize(
        "first",
        [
            answers(ONE, CRASH),
            answers(BackendBusyError(1.0)),
            answers(RuntimeError()),
            fails(modal_errors.ResourceExhaustedError("quota")),
            fails(modal_errors.AuthError("token")),
        ],
    )
    async def test_is_not_done_where_it_is_not_safe_or_no_use(self, first: Script) -> None:
        modal = FakeModal(first)
        await reason(calls_of(modal))
        assert len(modal.asked) == 1

    async def test_a_voice_is_learned_again_only_if_nothing_had_begun(self) -> None:
        voice: Any = {"prompt": b"x"}
        modal = FakeModal(fails(modal_errors.ServiceError("reset")), answers(voice))
        assert await calls_of(modal).result(Ask("create_voice_prompt"), caller="me") == voice
        modal = FakeModal(answers(CRASH), answers(voice))
        with pytest.raises(SpeechInterruptedError):
            await calls_of(modal).result(Ask("create_voice_prompt"), caller="me")


class TestAnOutage:
    async def test_is_answered_at_once_after_a_few_tries(self) -> None:
        modal = FakeModal(answers(ONE))
        modal.unreachable = BackendUnreachableError("no answer")
        calls = calls_of(modal)
        while (error := await reason(calls)).retry_after is None:  # type: ignore[attr-defined]
            assert modal.lookups < 10
        tries = modal.lookups
        for _ in range(5):
            error = await reason(calls)
            assert isinstance(error, BackendUnreachableError)
            assert error.retry_after is not None
            assert 0 < error.retry_after <= 15
        assert modal.lookups == tries

    async def test_is_over_when_the_pause_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        modal = FakeModal(answers(ONE))
        modal.unreachable = BackendUnreachableError("no answer")
        calls = calls_of(modal)
        monkeypatch.setattr(calls._breaker, "_pause", 0.05)
        for _ in range(3):
            await reason(calls)
        modal.unreachable = None
        await asyncio.sleep(0.06)
        assert await spoken(calls) == [ONE]
        assert await spoken(calls) == [ONE]


async def test_two_guilds_share_the_places() -> None:
    release = asyncio.Event()
    modal = FakeModal(answers(release, ONE))
    calls = calls_of(modal, places=2)
    order: list[str] = []

    async def speaks(guild: str) -> None:
        await spoken(calls, guild)
        order.append(guild)

    tasks = [asyncio.create_task(speaks("busy guild")) for _ in range(8)]
    await asyncio.sleep(0.01)
    tasks.append(asyncio.create_task(speaks("quiet guild")))
    await asyncio.sleep(0.01)
    assert len(modal.asked) == 2
    release.set()
    await asyncio.gather(*tasks)
    assert order.index("quiet guild") <= 3


async def test_waking_is_known_while_a_container_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.speech.modal.cold_start.NOTICE_SECONDS", 0.0)
    awake = asyncio.Event()
    calls = calls_of(FakeModal(waits(awake, answers(ONE))))
    assert calls.waking() is None
    task = asyncio.create_task(spoken(calls))
    await asyncio.sleep(0.02)
    waking = calls.waking()
    assert waking is not None
    assert waking.usual_seconds == 40
    assert 0 < waking.seconds < 1
    awake.set()
    await task
    assert calls.waking() is None
