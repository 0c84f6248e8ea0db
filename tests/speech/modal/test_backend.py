"""What the backend sends to Modal, and what it makes of the answers."""

from __future__ import annotations

import asyncio
import io
from contextlib import aclosing
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import modal.exception as modal_errors
import pytest
import soundfile
from structlog.testing import capture_logs

from backend.contract import (
    MAX_NEW_TOKENS,
    ConsentRecord,
    Heard,
    PcmChunk,
    PreparedVoice,
    ReferenceClip,
    SpeechRequest,
    VoicePrompt,
    VoicePromptModelMismatchError,
)
from bot.speech.backend import MarkingBackend, SleepingBackend
from bot.speech.errors import BackendNotDeployedError, BackendQuotaError
from bot.speech.modal import cold_start
from bot.speech.modal.backend import ModalBackend
from tests.speech.modal.fake_modal import FakeModal, answers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bot.speech.modal.client import ModalService

CONSENT = ConsentRecord(7, datetime(2026, 11, 1, tzinfo=UTC), "2026-11")
CHUNK = PcmChunk(b"\x01\x00", 24_000)
PREPARED: dict[str, Any] = {
    "prompt": b"safe tensors",
    "model_id": "Qwen/Qwen3-TTS-12Hz-0.6B-Base",
    "mode": "in-context",
    "transcript": "The birch canoe.",
    "heard": {"text": "The birch canoe.", "language": "English", "differs": False},
}


def backend_on(modal: FakeModal) -> ModalBackend:
    model_id = "Qwen/Qwen3-TTS-12Hz-1.7B-Base"
    return ModalBackend(cast("ModalService", modal), model_id=model_id, slots=4)


@pytest.fixture
def modal() -> FakeModal:
    return FakeModal(answers())


@pytest.fixture
async def backend(modal: FakeModal) -> AsyncIterator[ModalBackend]:
    backend = backend_on(modal)
    await backend.start()
    yield backend
    await backend.close()


async def spoken(backend: ModalBackend, request: SpeechRequest) -> list[PcmChunk]:
    async with aclosing(backend.speak(request)) as chunks:
        return [chunk async for chunk in chunks]


async def test_a_recording_goes_out_as_a_file_with_its_consent_and_comes_back_as_a_voice(
    modal: FakeModal, backend: ModalBackend
) -> None:
    modal.scripts = [answers(PREPARED)]
    clip = ReferenceClip(b"\x01\x02" * 24_000 * 4, transcript="The birch canoe.")
    voice = await backend.prepare_voice(clip, CONSENT)
    assert voice == PreparedVoice(
        VoicePrompt(b"safe tensors", "Qwen/Qwen3-TTS-12Hz-0.6B-Base"),
        Heard("The birch canoe.", "English"),
    )
    [call] = modal.calls
    file, transcript = call.args
    assert isinstance(file, bytes)
    samples, rate = soundfile.read(io.BytesIO(file), dtype="int16")
    assert rate == 24_000
    assert samples.astype("<i2").tobytes() == clip.pcm
    assert transcript == "The birch canoe."
    assert call.options == {"consent": asdict(CONSENT), "caller": "7"}


@pytest.mark.parametrize("is_marked", [True, False])
async def test_a_recording_is_searched_for_the_mark_in_a_container(
    modal: FakeModal, backend: ModalBackend, is_marked: bool
) -> None:
    assert isinstance(backend, MarkingBackend)
    modal.scripts = [
        answers({"watermarked": is_marked, "confidence": 0.7, "speed": 1.0, "seconds": 4.0})
    ]
    assert await backend.find_watermark(b"fLaC", caller="1/7") is is_marked
    [call] = modal.calls
    assert (call.name, call.args, call.options) == ("detect_watermark", (b"fLaC",), {})


async def test_the_deployed_model_is_known_from_answers(
    modal: FakeModal, backend: ModalBackend
) -> None:
    assert backend.info().name == "Qwen3-TTS-12Hz-1.7B-Base on Modal"
    modal.scripts = [answers(VoicePromptModelMismatchError("a", "Qwen/Qwen3-TTS-0.6B"))]
    with pytest.raises(VoicePromptModelMismatchError):
        await spoken(backend, SpeechRequest("Hello.", VoicePrompt(b"p", "a")))
    assert backend.info().model_id == "Qwen/Qwen3-TTS-0.6B"

    modal.scripts = [answers({**PREPARED, "heard": None})]
    voice = await backend.prepare_voice(ReferenceClip(b"\x00\x00" * 80_000), CONSENT)
    assert voice.heard is None
    assert backend.info().model_id == PREPARED["model_id"]


async def test_a_sentence_goes_out_with_a_seed_and_its_caller(
    modal: FakeModal, backend: ModalBackend
) -> None:
    modal.scripts = [answers(CHUNK)]
    prompt = VoicePrompt(b"prompt", "model")
    await spoken(backend, SpeechRequest("Hello.", prompt, "English", caller="guild 5"))
    await spoken(backend, SpeechRequest("Hello.", prompt, "English", seed=3))
    first, second = modal.calls
    assert first.args == ("Hello.", "English", b"prompt", MAX_NEW_TOKENS)
    assert first.options["caller"] == "guild 5"
    assert isinstance(first.options["seed"], int)
    assert second.options["seed"] == 3
    assert "Hello" not in repr(first), "it may end up in a log"


async def test_starts_while_nothing_is_deployed_and_says_so_in_the_log() -> None:
    modal = FakeModal(answers(CHUNK))
    modal.unreachable = modal_errors.NotFoundError("no such app")
    backend = backend_on(modal)
    with capture_logs() as logs:
        await backend.start()
        await asyncio.sleep(0.01)
    assert [entry["failure"] for entry in logs] == ["BackendNotDeployedError"]
    with pytest.raises(BackendNotDeployedError):
        await backend.health()
    modal.unreachable = None
    await backend.health()
    assert await spoken(backend, SpeechRequest("Hello.", VoicePrompt(b"p", "m"))) == [CHUNK]
    await backend.close()


async def test_health_and_info_start_no_container(modal: FakeModal, backend: ModalBackend) -> None:
    await backend.health()
    backend.info()
    assert not modal.calls


class TestKeepingWarm:
    async def test_calls_a_container_again_and_again(
        self, modal: FakeModal, backend: ModalBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert isinstance(backend, SleepingBackend)
        monkeypatch.setattr(cold_start, "PING_EVERY_SECONDS", 0.02)
        modal.scripts = [answers({"ready": True})]
        await backend.keep_awake(0.15)
        await asyncio.sleep(0.25)
        calls = len(modal.calls)
        assert 3 <= calls <= 8
        assert {call.name for call in modal.calls} == {"health"}
        await asyncio.sleep(0.05)
        assert len(modal.calls) == calls, "the time is over"

    async def test_a_second_time_never_brings_the_end_nearer(
        self, modal: FakeModal, backend: ModalBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cold_start, "PING_EVERY_SECONDS", 0.02)
        modal.scripts = [answers({"ready": True})]
        assert await backend.keep_awake(3_600) == pytest.approx(3_600, abs=60)
        assert await backend.keep_awake(0.05) == pytest.approx(3_600, abs=60)
        assert await backend.keep_awake(7_200) == pytest.approx(7_200, abs=60)
        await asyncio.sleep(0.1)
        calls = len(modal.calls)
        await asyncio.sleep(0.06)
        assert len(modal.calls) > calls, "somebody has asked for an hour"

    async def test_goes_on_after_a_failure_and_ends_with_the_bot(
        self, modal: FakeModal, backend: ModalBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cold_start, "PING_EVERY_SECONDS", 0.02)
        ready = {"ready": True}
        modal.scripts = [answers(ready), answers(RuntimeError()), answers(ready)]
        await backend.keep_awake(3_600)
        await asyncio.sleep(0.08)
        assert len(modal.calls) >= 3
        await backend.close()
        calls = len(modal.calls)
        await asyncio.sleep(0.05)
        assert len(modal.calls) == calls

    async def test_fails_if_no_container_can_start(
        self, modal: FakeModal, backend: ModalBackend
    ) -> None:
        modal.scripts = [answers(modal_errors.ResourceExhaustedError("no money"))]
        with pytest.raises(BackendQuotaError):
            await backend.keep_awake(3_600)
        await asyncio.sleep(0.05)
        assert len(modal.calls) == 1, "there are no more calls"
        modal.scripts = [answers({"ready": True})]
        assert await backend.keep_awake(60) <= 60, "nothing is left of what has failed"

    async def test_fails_at_once_if_nothing_is_deployed(
        self, modal: FakeModal, backend: ModalBackend
    ) -> None:
        modal.unreachable = modal_errors.NotFoundError("no such app")
        with pytest.raises(BackendNotDeployedError):
            await backend.keep_awake(60)
        assert not modal.calls
