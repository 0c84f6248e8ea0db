"""Every call ends in an answer or an error, in time, and leaves nothing running."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import modal.exception as modal_errors
import pytest
from structlog.testing import capture_logs

from backend.contract import (
    BackendBusyError,
    BackendUnavailableError,
    PcmChunk,
    SpeechError,
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
from bot.speech.modal.client import MethodCall, StreamBegins
from tests.speech.modal.fake_modal import FakeModal, answers, fails, waits

if TYPE_CHECKING:
    from bot.speech.modal.client import ModalService
    from tests.speech.modal.fake_modal import Script

SPEAK = MethodCall("stream_with_prompt", ("Private words.",))
ONE, TWO, THREE = (PcmChunk(bytes([n, 0]), 24_000) for n in (1, 2, 3))
CRASH = modal_errors.InternalFailure("the container is gone")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modal_calls, "_PAUSE_BEFORE_REPEATING", 0.0)
    monkeypatch.setattr(modal_call, "LOOK_UP_EVERY_SECONDS", 0.02)


def calls_of(modal: FakeModal, slots: int = 10) -> Calls:
    return Calls(cast("ModalService", modal), slots=slots)


async def spoken(calls: Calls, caller: str = "guild") -> list[PcmChunk]:
    async with aclosing(calls.stream(SPEAK, caller=caller)) as chunks:
        return [chunk async for chunk in chunks]


async def reason(calls: Calls) -> SpeechError:
    with pytest.raises(SpeechError) as caught:
        await spoken(calls)
    return caught.value


async def until_cancelled(modal: FakeModal, *call_ids: str) -> None:
    async with asyncio.timeout(30):
        while modal.cancelled != list(call_ids):  # noqa: ASYNC110 - a fake without events
            await asyncio.sleep(0)


class TestAnswers:
    async def test_arrive_as_they_are_generated(self) -> None:
        later = asyncio.Event()
        modal = FakeModal(answers(ONE, later, TWO))
        async with aclosing(calls_of(modal).stream(SPEAK, caller="guild")) as chunks:
            assert await anext(chunks) == ONE
            later.set()
            assert [chunk async for chunk in chunks] == [TWO]
        await asyncio.sleep(0)
        assert not modal.cancelled

    async def test_go_on_if_another_container_took_the_call_over(self) -> None:
        first, second, third = (
            replace(chunk, first_sample=number) for number, chunk in enumerate((ONE, TWO, THREE))
        )
        modal = FakeModal(answers(first, second, StreamBegins("fc-1"), third))
        assert await spoken(calls_of(modal)) == [first, second, third]

    async def test_fail_if_nobody_knows_where_another_container_goes_on(self) -> None:
        """Else the middle of a sentence would be lost, or said twice, and count as spoken."""
        modal = FakeModal(answers(ONE, TWO, StreamBegins("fc-1"), THREE, ONE))
        assert type(await reason(calls_of(modal))) is SpeechInterruptedError

    async def test_begin_with_the_container_that_has_said_something(self) -> None:
        modal = FakeModal(answers(StreamBegins("fc-1"), ONE, TWO))
        assert await spoken(calls_of(modal)) == [ONE, TWO]


class TestCancelling:
    async def test_in_the_middle_cancels_the_remote_call(self) -> None:
        modal = FakeModal(answers(ONE, asyncio.Event()))
        stream = calls_of(modal).stream(SPEAK, caller="guild")
        await anext(stream)
        await stream.aclose()
        await until_cancelled(modal, "fc-1")

    async def test_while_waiting_cancels_the_remote_call(self) -> None:
        modal = FakeModal(answers(ONE, asyncio.Event()))
        task = asyncio.create_task(spoken(calls_of(modal)))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until_cancelled(modal, "fc-1")

    async def test_before_a_container_took_the_call_cancels_it_once_one_does(self) -> None:
        started = asyncio.Event()
        modal = FakeModal(waits(started, answers(ONE, asyncio.Event())))
        task = asyncio.create_task(spoken(calls_of(modal)))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not modal.cancelled
        started.set()
        await until_cancelled(modal, "fc-1")

    async def test_frees_the_slot_at_once(self) -> None:
        modal = FakeModal(waits(asyncio.Event(), answers()), answers(ONE))
        calls = calls_of(modal, slots=1)
        task = asyncio.create_task(spoken(calls))
        await asyncio.sleep(0.01)
        task.cancel()
        async with asyncio.timeout(10):
            assert await spoken(calls) == [ONE]

    async def test_a_method_with_a_result_cancels_the_remote_call(self) -> None:
        modal = FakeModal(answers(asyncio.Event()))
        task = asyncio.create_task(calls_of(modal).result(MethodCall("x"), caller="guild"))
        await asyncio.sleep(0.01)
        task.cancel()
        await until_cancelled(modal, "fc-1")

    async def test_all_calls_at_shutdown_fails_those_that_wait(self) -> None:
        modal = FakeModal(answers(ONE, asyncio.Event()))
        calls = calls_of(modal, slots=1)
        tasks = [asyncio.create_task(spoken(calls)) for _ in range(2)]
        await asyncio.sleep(0.01)
        await calls.close()
        assert modal.cancelled == ["fc-1"]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [BackendUnavailableError] * 2

    async def test_at_shutdown_does_not_wait_long_for_a_call_without_an_id(
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
    async def test_each_is_translated_and_logged_once(
        self, error: Exception, meaning: type[SpeechError]
    ) -> None:
        modal = FakeModal(answers(ONE, error, call_id="fc-7"))
        with capture_logs() as logs:
            assert type(await reason(calls_of(modal))) is meaning
        [entry] = logs
        assert (entry["call"], entry["method"]) == ("fc-7", "stream_with_prompt")
        assert entry["failure"] == meaning.__name__
        assert "Private words." not in str(logs)

    async def test_of_the_connection_cancel_what_may_still_run(self) -> None:
        modal = FakeModal(answers(ONE, modal_errors.ServiceError("reset")))
        await reason(calls_of(modal))
        await until_cancelled(modal, "fc-1")

    async def test_of_the_connection_are_noticed_while_waiting_for_an_answer(self) -> None:
        modal = FakeModal(answers(ONE, asyncio.Event()))
        stream = calls_of(modal).stream(SPEAK, caller="guild")
        await anext(stream)
        modal.unreachable = BackendUnreachableError("no answer")
        async with asyncio.timeout(10):
            with pytest.raises(BackendUnreachableError):
                await anext(stream)

    async def test_of_a_single_look_up_do_not_end_the_wait_for_an_answer(self) -> None:
        later = asyncio.Event()
        modal = FakeModal(answers(ONE, later, TWO))
        stream = calls_of(modal).stream(SPEAK, caller="guild")
        await anext(stream)
        modal.fails_once = BackendUnreachableError("no answer")
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.05)
        later.set()
        assert await waiting == TWO
        assert modal.fails_once is None, "there was a look-up"

    async def test_an_app_that_is_taken_down_is_noticed_while_waiting_for_a_container(self) -> None:
        modal = FakeModal(waits(asyncio.Event(), answers()))
        task = asyncio.create_task(reason(calls_of(modal)))
        await asyncio.sleep(0.01)
        modal.unreachable = modal_errors.NotFoundError("no such app")
        async with asyncio.timeout(10):
            assert type(await task) is BackendNotDeployedError


class TestDeadlines:
    async def test_a_container_that_never_comes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(modal_calls, "START_WITHIN_SECONDS", 0.1)
        modal = FakeModal(waits(asyncio.Event(), answers()))
        assert type(await reason(calls_of(modal))) is WakingTimeoutError

    async def test_an_answer_that_stops_coming_is_cancelled(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(modal_calls, "ANSWER_WITHIN_SECONDS", 0.1)
        modal = FakeModal(answers(ONE, asyncio.Event()))
        assert type(await reason(calls_of(modal))) is SpeechTimeoutError
        await until_cancelled(modal, "fc-1")

    async def test_the_time_that_the_reader_takes_does_not_count(
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
    async def test_is_done_once_before_the_first_chunk(self, first: Script) -> None:
        modal = FakeModal(first, answers(ONE, TWO))
        assert await spoken(calls_of(modal)) == [ONE, TWO]
        assert len(modal.calls) == 2
        assert modal.calls[0] is modal.calls[1], "the same seed, too"

    async def test_a_stale_handle_is_looked_up_again(self) -> None:
        modal = FakeModal(fails(modal_errors.NotFoundError("stale handle")), answers(ONE))
        await spoken(calls_of(modal))
        assert modal.forgotten

    async def test_is_not_done_a_second_time(self) -> None:
        modal = FakeModal(answers(CRASH))
        assert type(await reason(calls_of(modal))) is SpeechInterruptedError
        assert len(modal.calls) == 2

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
        assert len(modal.calls) == 1

    async def test_a_voice_prompt_is_requested_again_only_if_modal_had_not_taken_the_call(
        self,
    ) -> None:
        voice: Any = {"prompt": b"x"}
        modal = FakeModal(fails(modal_errors.ServiceError("reset")), answers(voice))
        assert await calls_of(modal).result(MethodCall("create_voice_prompt"), caller="me") == voice
        modal = FakeModal(answers(CRASH), answers(voice))
        with pytest.raises(SpeechInterruptedError):
            await calls_of(modal).result(MethodCall("create_voice_prompt"), caller="me")


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


async def test_two_guilds_share_the_slots() -> None:
    release = asyncio.Event()
    modal = FakeModal(answers(release, ONE))
    calls = calls_of(modal, slots=2)
    order: list[str] = []

    async def speaks(guild: str) -> None:
        await spoken(calls, guild)
        order.append(guild)

    tasks = [asyncio.create_task(speaks("busy guild")) for _ in range(8)]
    await asyncio.sleep(0.01)
    tasks.append(asyncio.create_task(speaks("quiet guild")))
    await asyncio.sleep(0.01)
    assert len(modal.calls) == 2
    release.set()
    await asyncio.gather(*tasks)
    assert order.index("quiet guild") <= 3


async def test_a_cold_start_is_reported_while_a_container_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bot.speech.modal.cold_start.NOTICE_SECONDS", 0.0)
    started = asyncio.Event()
    calls = calls_of(FakeModal(waits(started, answers(ONE))))
    assert calls.cold_start() is None
    task = asyncio.create_task(spoken(calls))
    await asyncio.sleep(0.02)
    start = calls.cold_start()
    assert start is not None
    assert start.usual_seconds == 40
    assert 0 < start.seconds < 1
    started.set()
    await task
    assert calls.cold_start() is None
