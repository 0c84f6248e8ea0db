"""What a client of the API hears, in every format, and while it is made."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock

import httpx
import numpy as np
import pytest

from backend.contract import BackendBusyError, GenerationFailedError, ReferenceUnusableError
from bot.audio.decode import decode
from bot.audio.stream_encode import StreamFormat
from bot.guilds.records import AuditAction
from bot.voices.consent import EITHER_PERMISSION, Permission
from bot.voices.records import Whose
from tests.support.api import ANA, BEN, Api, running_api, saved

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from backend.contract import SpeechRequest
    from tests.support.scripted_backend import ScriptedBackend

SPEECH = "/v1/audio/speech"
TWO_SENTENCES = "This is the first sentence. And this is the second one."
SECONDS = 2.6
"""At least so long do they last."""


async def heard(audio: bytes, audio_format: str = "mp3") -> NDArray[np.float32]:
    """The samples of an answer, at 24 kHz."""
    if audio_format == "pcm":
        return np.frombuffer(audio, "<i2").astype(np.float32) / np.float32(32_768)
    sound = await decode(audio, sample_rate=24_000, max_seconds=60, within_seconds=20)
    return sound.samples


def pitch_of(samples: NDArray[np.float32]) -> float:
    """The loudest frequency, in Hz. Each voice of the backend has its own."""
    spectrum = np.abs(np.fft.rfft(samples))
    return float(spectrum.argmax()) * 24_000 / len(samples)


def in_base64(recording: bytes) -> str:
    return base64.b64encode(recording).decode()


def events_of(answer: str) -> list[dict[str, Any]]:
    return [json.loads(each.removeprefix("data: ")) for each in answer.split("\n\n") if each]


class Pause:
    """Makes a backend wait at its second sentence, and tells what becomes of that."""

    def __init__(self, backend: ScriptedBackend, *, at: int = 2) -> None:
        self.goes_on, self.reached, self.cancelled = (asyncio.Event() for _ in range(3))
        self._sentences, self._at = 0, at
        backend.on_speak = self._wait

    async def _wait(self, _request: SpeechRequest) -> None:
        self._sentences += 1
        if self._sentences < self._at:
            return
        self.reached.set()
        try:
            await self.goes_on.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


async def until_nothing_runs(api: Api) -> None:
    async with asyncio.timeout(10):
        while api.context.requests.open:  # noqa: ASYNC110 - a set tells nobody
            await asyncio.sleep(0.01)


async def test_every_format_begins_while_the_second_sentence_is_made(
    api: Api, backend: ScriptedBackend, recording: bytes
) -> None:
    await saved(api, recording, "Other")
    await saved(api, recording, "Me")
    for audio_format in StreamFormat:
        pause = Pause(backend)
        body = {"input": TWO_SENTENCES, "voice": "me", "response_format": audio_format}
        async with api.client() as client, client.stream("POST", SPEECH, json=body) as answer:
            assert answer.status_code == 200
            pieces = answer.aiter_bytes()
            first = await anext(pieces)
            await pause.reached.wait()
            assert first, audio_format
            pause.goes_on.set()
            whole = first + b"".join([piece async for piece in pieces])
        samples = await heard(whole, audio_format)
        assert SECONDS < len(samples) / 24_000 < SECONDS + 1, audio_format
        assert pitch_of(samples) == pytest.approx(500, abs=2), "the second voice that was made"


async def test_speed_changes_the_length_and_not_the_pitch(api: Api, recording: bytes) -> None:
    await saved(api, recording)
    body = {"input": TWO_SENTENCES, "response_format": "pcm", "speed": 2.0}
    async with api.client() as client:
        samples = await heard((await client.post(SPEECH, json=body)).content, "pcm")
    assert len(samples) / 24_000 == pytest.approx(SECONDS / 2, abs=0.4)
    assert pitch_of(samples) == pytest.approx(400, abs=3)


async def test_events_carry_the_same_speech(api: Api, recording: bytes) -> None:
    await saved(api, recording)
    body = {"input": TWO_SENTENCES, "response_format": "pcm"}
    async with api.client() as client:
        audio = (await client.post(SPEECH, json=body)).content
        answer = await client.post(SPEECH, json={**body, "stream_format": "sse"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    *deltas, done = events_of(answer.text)
    assert {delta["type"] for delta in deltas} == {"speech.audio.delta"}
    assert len(deltas) > 1
    assert sum(len(base64.b64decode(delta["audio"])) for delta in deltas) == len(audio)
    frames = round(len(audio) / 2 / 1_920)
    assert done == {
        "type": "speech.audio.done",
        "usage": {
            "input_tokens": len(TWO_SENTENCES),
            "output_tokens": pytest.approx(frames, abs=1),
            "total_tokens": pytest.approx(len(TWO_SENTENCES) + frames, abs=1),
        },
    }


async def test_a_client_that_leaves_stops_the_work(
    api: Api, backend: ScriptedBackend, recording: bytes
) -> None:
    await saved(api, recording)
    for sentence in (1, 2):  # before anything was sent, and in the middle
        pause = Pause(backend, at=sentence)
        async with api.client() as client:
            asking = asyncio.create_task(client.post(SPEECH, json={"input": TWO_SENTENCES}))
            await pause.reached.wait()
            asking.cancel()
            await asyncio.wait([asking])
        async with asyncio.timeout(10):
            await pause.cancelled.wait()
        await until_nothing_runs(api)
    assert not api.services.policy.ledger._open


async def test_speech_that_fails_in_the_middle_is_not_taken_for_the_whole(
    api: Api, backend: ScriptedBackend, recording: bytes
) -> None:
    await saved(api, recording)

    async def fail(request: SpeechRequest) -> None:
        if request.text.startswith("And"):
            raise GenerationFailedError("no end")

    backend.on_speak = fail
    async with api.client() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(SPEECH, json={"input": TWO_SENTENCES})
        body = {"input": TWO_SENTENCES, "stream_format": "sse"}
        *_, last = events_of((await client.post(SPEECH, json=body)).text)
    assert last["type"] == "error"
    assert last["error"]["code"] == "generation_failed"


async def test_speech_that_fails_at_once_is_an_answer(
    api: Api, backend: ScriptedBackend, recording: bytes
) -> None:
    await saved(api, recording)
    failures: list[tuple[Exception, int, str | None]] = [
        (BackendBusyError(7.2), 503, "8"),
        (BackendBusyError(), 503, "5"),
        (GenerationFailedError("x"), 500, None),
        (RuntimeError("a secret text"), 500, None),
    ]
    for error, status, retry_after in failures:
        backend.on_speak = AsyncMock(side_effect=error)
        async with api.client() as client:
            answer = await client.post(SPEECH, json={"input": "Hello."})
        assert (answer.status_code, answer.headers.get("retry-after")) == (status, retry_after)
        told = answer.json()["error"]
        assert told["type"] == "server_error"
        assert "secret" not in answer.text
        if isinstance(error, RuntimeError):
            assert answer.headers["x-request-id"] in told["message"]


async def test_what_is_asked_for_reaches_the_voice_engine(
    api: Api, backend: ScriptedBackend, recording: bytes
) -> None:
    asked: list[SpeechRequest] = []

    async def note(request: SpeechRequest) -> None:
        asked.append(request)

    backend.on_speak = note
    await api.services.dictionaries.add(Whose.PERSON, ANA, "SQL", "sequel")
    body = {
        "input": "I like SQL.",
        "ref_audio": "data:audio/wav;base64," + in_base64(recording),
        "ref_text": "What is said.",
        "consent": "true",
        "language": "english",
        "seed": 7,
        "max_new_tokens": 100,
    }
    async with api.client() as client:
        assert (await client.post(SPEECH, json=body)).status_code == 200
        body["x_vector_only_mode"] = True
        assert (await client.post(SPEECH, json=body)).status_code == 200
    request = asked[0]
    assert request.text == "I like sequel."
    assert (request.language, request.seed, request.max_new_tokens) == ("English", 7, 100)
    assert request.caller == str(ANA)
    in_context, sound_alone = backend.clips
    assert (in_context.transcript, in_context.sound_alone) == ("What is said.", False)
    assert (sound_alone.transcript, sound_alone.sound_alone) == (None, True)
    consent = backend.consents[0]
    assert (consent.attested_by, consent.statement_version) == (ANA, EITHER_PERMISSION)


async def test_a_recording_needs_consent(
    api: Api, backend: ScriptedBackend, recording: bytes
) -> None:
    async with api.client() as client:
        for consent in (None, "", False, "no"):
            body = {"input": "Hello.", "ref_audio": in_base64(recording), "consent": consent}
            answer = await client.post(SPEECH, json=body)
            assert answer.status_code == 400
            assert answer.json()["error"]["param"] == "consent"
    assert not backend.clips


async def test_an_operator_can_do_without_consent_and_without_a_database(
    tmp_path: Path, backend: ScriptedBackend, recording: bytes
) -> None:
    body = {"input": "Hello.", "ref_audio": in_base64(recording)}
    settings: dict[str, Any] = {"database_url": "none", "require_consent": False}
    async with running_api(tmp_path, backend, **settings) as api, api.client() as client:
        assert (await client.post(SPEECH, json=body)).status_code == 200
        for method, path in [
            ("POST", SPEECH),
            ("GET", "/v1/audio/voices"),
            ("DELETE", "/v1/audio/voices/Me"),
        ]:
            content = {"input": "Hello.", "voice": "Me"} if method == "POST" else None
            answer = await client.request(method, path, json=content)
            assert answer.status_code == 400
            assert answer.json()["error"]["code"] == "no_voices_kept"
    assert not await asyncio.to_thread(lambda: list(tmp_path.iterdir()))


async def test_recordings_are_fetched_from_public_addresses_alone(
    tmp_path: Path, backend: ScriptedBackend, recording: bytes
) -> None:
    async def fetch(address: str) -> bytes:
        assert address == "https://example.com/me.wav"
        return recording

    body = {"input": "Hello.", "consent": True}
    async with running_api(tmp_path, backend, fetch=fetch) as api, api.client() as client:
        body["ref_audio"] = "https://example.com/me.wav"
        assert (await client.post(SPEECH, json=body)).status_code == 200
    async with running_api(tmp_path, backend) as api, api.client() as client:
        for address in (
            "http://example.com/me.wav",
            f"https://127.0.0.1:{api.url.rpartition(':')[2]}/health",
            "https://localhost/me.wav",
            "file:///etc/passwd",
            "https://[::1]/me.wav",
        ):
            answer = await client.post(SPEECH, json={**body, "ref_audio": address})
            assert answer.status_code == 400, address
            assert answer.json()["error"]["param"] == "ref_audio"
    assert len(backend.clips) == 1


UNUSABLE: list[tuple[dict[str, Any], int, str]] = [
    ({"input": ""}, 400, "input"),
    ({"input": "x" * 4_097}, 400, "input"),
    ({"input": "..."}, 400, "input"),
    ({"input": "\ud800"}, 400, "input"),
    ({"input": "a\0b"}, 400, "input"),
    ({"model": "whisper-1"}, 404, "model"),
    ({"voice": "nobody"}, 404, "voice"),
    ({"voice": {"id": "voice_99"}}, 404, "voice"),
    ({"voice": "a\0b"}, 400, "voice"),
    ({"response_format": "midi"}, 400, "response_format"),
    ({"speed": 5}, 400, "speed"),
    ({"speed": "NaN"}, 400, "speed"),
    ({"language": "Klingon"}, 400, "language"),
    ({"seed": -1}, 400, "seed"),
    ({"max_new_tokens": 0}, 400, "max_new_tokens"),
    ({"instructions": "Whisper."}, 400, "instructions"),
    ({"ref_text": "What is said."}, 400, "ref_text"),
    ({"ref_adio": "typo"}, 400, "ref_adio"),
    ({"ref_audio": "?", "consent": True}, 400, "ref_audio"),
    ({"ref_audio": in_base64(b"no sound"), "consent": True}, 400, "ref_audio"),
    ({"ref_audio": in_base64(b"RIFF" + bytes(50)), "consent": True}, 400, "ref_audio"),
]


async def test_a_field_that_cannot_be_used_is_named(api: Api, recording: bytes) -> None:
    await saved(api, recording)
    as_json = {"content-type": "application/json"}
    async with api.client() as client:
        for fields, status, param in UNUSABLE:
            body = json.dumps({"input": "Hello.", **fields})
            answer = await client.post(SPEECH, content=body, headers=as_json)
            told = answer.json()["error"]
            assert (answer.status_code, told["param"]) == (status, param), fields
            assert told["type"] == "invalid_request_error"


async def test_no_field_is_quoted_in_the_log(
    api: Api, recording: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    await saved(api, recording)
    async with api.client() as client:
        body = {"input": "Hello.", "language": "Where was she?", "voice": "Me"}
        answer = await client.post(SPEECH, json=body)
        assert answer.json()["error"]["param"] == "language"
    logged = capsys.readouterr().out
    assert "LanguageNotSupportedError" in logged
    assert "Where was she" not in logged


async def test_a_clip_that_the_engine_refuses_is_named_too(
    api: Api, backend: ScriptedBackend, recording: bytes
) -> None:
    backend.on_prepare = AsyncMock(side_effect=ReferenceUnusableError("x"))
    body = {"input": "Hello.", "ref_audio": in_base64(recording), "consent": True}
    async with api.client() as client:
        answer = await client.post(SPEECH, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "ref_audio")


async def test_the_voice_used_last_speaks_if_none_is_named(api: Api, recording: bytes) -> None:
    async with api.client() as client:
        answer = await client.post(SPEECH, json={"input": "Hello."})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_voice_yet")
        for name in ("first", "second"):
            await saved(api, recording, name)
        answers = [
            await client.post(SPEECH, json={"input": "Hello.", "response_format": "pcm", **fields})
            for fields in ({"voice": "first"}, {})
        ]
    pitches = [pitch_of(await heard(answer.content, "pcm")) for answer in answers]
    assert pitches == pytest.approx([400, 400], abs=5)


async def test_the_audit_log_says_who_spoke_and_not_what(
    api: Api, recording: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    voice = await saved(api, recording)
    async with api.client() as client:
        await client.post(SPEECH, json={"input": "Nobody knows this."})
        body = {"input": "Nor that.", "ref_audio": in_base64(recording), "consent": True}
        await client.post(SPEECH, json=body)
        await client.post(SPEECH, json={"input": "Refused.", "voice": "nobody knows"})
    audit = api.services.policy.audit
    await audit.written()
    lines = await audit.after(0, guild_id=None, since=None, limit=10)
    assert [(line.action, line.actor_id, line.voice_id, line.details) for line in lines] == [
        (AuditAction.CLONED, ANA, voice.id, f"api: {Permission.OWN.statement_version}"),
        (AuditAction.SPOKE_FILE, ANA, voice.id, "api"),
        (AuditAction.CLONED, ANA, None, f"api: {EITHER_PERMISSION}"),
    ]
    logged = capsys.readouterr().out + capsys.readouterr().err
    assert "request" in logged
    for text in ("Nobody", "Nor that", "Refused", "nobody"):
        assert text not in logged


async def test_sixteen_callers_are_served_at_once(
    api: Api, backend: ScriptedBackend, recording: bytes
) -> None:
    await saved(api, recording)
    await saved(api, recording, "Ben", person=BEN)

    async def ask(number: int) -> float:
        person, seconds = (ANA, BEN)[number % 2], 1 + number
        async with api.client(person) as client:
            body = {"input": "word " * seconds, "response_format": "pcm"}
            samples = await heard((await client.post(SPEECH, json=body)).content, "pcm")
        return pitch_of(samples)

    pitches = await asyncio.gather(*map(ask, range(16)))
    assert pitches == pytest.approx([400, 500] * 8, abs=8), "each hears the own voice"
    assert len(backend.spoken) == 16
