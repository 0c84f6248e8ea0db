"""The way of a line in the quality benchmark, with a scripted backend and a judge that is told."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from backend.contract import (
    REFERENCE_SAMPLE_RATE,
    BackendUnavailableError,
    PcmChunk,
    ReferenceUnusableError,
    SpeechRunsOnError,
)
from benchmarks.speech_quality import speaking
from benchmarks.speech_quality.backends import filter_of
from benchmarks.speech_quality.errors import CannotMeasureError
from benchmarks.speech_quality.references import Recording, find_recordings
from benchmarks.speech_quality.run import Plan, Reference, measure, read_references
from benchmarks.speech_quality.settings import read_setting
from benchmarks.speech_quality.verdicts import Verdict, Voice
from tests.support.recordings import SENTENCES, as_file, speech
from tests.support.scripted_backend import SECONDS_PER_CHARACTER, ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from numpy.typing import NDArray

    from backend.contract import ReferenceClip, SpeechRequest
    from benchmarks.speech_quality.speaking import Line, Speech

PREVIEW = ["preview"]
TEXTS = ("Good morning.", "Where is the kettle?")


class ToldListener:
    """Hears what it is told, and notes what it listened to."""

    def __init__(self) -> None:
        self.speeches: dict[str, Speech] = {}

    def hear(self, samples: NDArray[np.float32]) -> str:
        return f"heard in {len(samples) / REFERENCE_SAMPLE_RATE:.0f} s"

    def describe(self, key: str, clip: NDArray[np.float32], transcript: str | None) -> Voice:
        words = transcript or self.hear(clip)
        return Voice(key, words, 4.0, 3.0, np.ones(4, np.float32), 0.9, 3, None)

    def judge(self, line: Line, speech: Speech, voice: Voice) -> Verdict:
        assert voice.key == line.voice
        self.speeches[line.sentence] = speech
        return Verdict(line.voice, line.sentence, line.take, speech.problem, runaway=speech.ran_on)


def phone_recording(seconds: float, silence: float = 1.0) -> bytes:
    return as_file(np.pad(speech(seconds), round(silence * REFERENCE_SAMPLE_RATE)), 24_000, "wav")


@pytest.fixture(scope="module")
def recording() -> Recording:
    return Recording("ann", phone_recording(4.5), SENTENCES[0])


async def plan_of(*recordings: Recording, takes: int = 1) -> Plan:
    references = await read_references(recordings, ToldListener())
    return Plan(references, TEXTS, takes, "English")


def test_recordings_are_found_with_the_transcripts_beside_them(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "ann.wav").write_bytes(b"one")
    (tmp_path / "ann.txt").write_text(" Hello there.\n", encoding="utf-8")
    (tmp_path / "deep" / "Bob.MP3").write_bytes(b"two")
    (tmp_path / "notes.txt").write_text("no recording", encoding="utf-8")
    ann, bob = find_recordings(tmp_path)
    assert (ann.name, ann.transcript) == ("ann", "Hello there.")
    assert (bob.name, bob.transcript) == ("deep/Bob", None)
    assert ann.key != Recording("ann", b"changed").key
    (tmp_path / "empty").mkdir()
    with pytest.raises(CannotMeasureError, match="no recording"):
        find_recordings(tmp_path / "empty")


async def test_recordings_that_the_bot_would_refuse_are_left_out(
    recording: Recording, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = Recording("silent", as_file(np.zeros(120_000, np.float32), 24_000, "wav"))
    broken = Recording("broken", b"no sound at all")
    references = await read_references([silent, recording, broken], ToldListener())
    assert [reference.recording for reference in references] == [recording]
    told = capsys.readouterr().err
    assert "silent is left out" in told
    assert "broken is left out" in told


async def test_every_voice_says_every_sentence_and_each_is_judged(
    recording: Recording, tmp_path: Path
) -> None:
    plan = await plan_of(recording, Recording("bob", phone_recording(5.0)), takes=2)
    backend = ScriptedBackend()
    verdicts = await measure(
        backend, read_setting(PREVIEW), plan, ToldListener(), label="a", keep=tmp_path
    )
    lines = [(verdict.voice[:3], verdict.sentence, verdict.take) for verdict in verdicts]
    assert lines == [
        (name, text, take) for name in ("ann", "bob") for text in TEXTS for take in (0, 1)
    ]
    assert backend.closed
    kept = {file.name: file for file in tmp_path.glob("a/ann-*/*.wav")}  # noqa: ASYNC240 - two files
    assert set(kept) == {"01-1.wav", "01-2.wav", "02-1.wav", "02-2.wav"}
    samples, rate = soundfile.read(kept["01-1.wav"])
    assert len(samples) / rate == pytest.approx(len(TEXTS[0]) * SECONDS_PER_CHARACTER, abs=0.01)


async def test_both_settings_ask_for_the_same_seeds_and_each_line_for_another(
    recording: Recording,
) -> None:
    plan, seeds = await plan_of(recording, takes=2), []

    async def note(request: SpeechRequest) -> None:
        seeds.append(request.seed)

    for _ in range(2):
        backend = ScriptedBackend()
        backend.on_speak = note
        await measure(backend, read_setting(PREVIEW), plan, ToldListener(), label="a")
    assert seeds[:4] == seeds[4:]
    assert len(set(seeds)) == 4


async def test_a_setting_decides_which_clip_and_transcript_are_cloned(recording: Recording) -> None:
    plan = await plan_of(recording)

    async def clip_for(*words: str) -> ReferenceClip:
        backend = ScriptedBackend()
        await measure(backend, read_setting(words), plan, ToldListener(), label="a")
        return backend.clips[0]

    prepared, raw = await clip_for("preview"), await clip_for("preview", "clip=raw")
    assert prepared.transcript == raw.transcript == SENTENCES[0]
    assert raw.seconds == pytest.approx(6.5, abs=0.05)
    assert prepared.seconds < 5
    assert (await clip_for("modal", "transcript=none")).transcript is None
    assert (await clip_for("local", "clip=raw", "transcript=none")).transcript is None


async def test_without_a_given_transcript_the_raw_clip_is_listened_to() -> None:
    plan = await plan_of(Recording("ann", phone_recording(4.5)))
    backend = ScriptedBackend()
    await measure(backend, read_setting(["preview", "clip=raw"]), plan, ToldListener(), label="a")
    assert backend.clips[0].transcript == "heard in 6 s"


async def test_speech_that_begins_anew_or_fails_is_counted(recording: Recording) -> None:
    class Stumbling(ScriptedBackend):
        async def speak(self, request: SpeechRequest) -> AsyncGenerator[PcmChunk, None]:
            if request.text == TEXTS[1]:
                raise SpeechRunsOnError(19.0)
            yield PcmChunk(bytes(4_800), 24_000)
            yield PcmChunk(bytes(2_400), 24_000, restarts=True)
            yield PcmChunk(bytes(2_400), 24_000)

    judge = ToldListener()
    plan = await plan_of(recording)
    verdicts = await measure(Stumbling(), read_setting(PREVIEW), plan, judge, label="a")
    assert [verdict.problem for verdict in verdicts] == [None, "SpeechRunsOnError"]
    assert [verdict.runaway for verdict in verdicts] == [True, True]
    assert len(judge.speeches[TEXTS[0]].samples) == 2_400


async def test_a_voice_that_cannot_be_made_fails_in_all_its_lines(recording: Recording) -> None:
    backend = ScriptedBackend()

    async def refuse(clip: ReferenceClip) -> None:
        if not backend.clips and clip.transcript == SENTENCES[0]:
            raise ReferenceUnusableError("too noisy")

    backend.on_prepare = refuse
    plan = await plan_of(recording, Recording("bob", phone_recording(5.0), SENTENCES[1]))
    verdicts = await measure(backend, read_setting(PREVIEW), plan, ToldListener(), label="a")
    problems = {verdict.voice[:3]: verdict.problem for verdict in verdicts}
    assert problems == {"ann": "ReferenceUnusableError", "bob": None}
    assert len(verdicts) == 4


@pytest.mark.parametrize("times", [2, 3])
async def test_a_backend_that_stays_away_ends_the_run(
    recording: Recording, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    monkeypatch.setattr(speaking, "RETRY_AFTER_SECONDS", (0.0, 0.0))
    backend, asked = ScriptedBackend(), Counter[str]()

    async def be_away(request: SpeechRequest) -> None:
        asked[request.text] += 1
        if asked[request.text] <= times:
            raise BackendUnavailableError("it is gone")

    backend.on_speak = be_away
    plan = await plan_of(recording)
    run = measure(backend, read_setting(PREVIEW), plan, ToldListener(), label="a")
    if times == 2:
        assert [verdict.problem for verdict in await run] == [None, None]
    else:
        with pytest.raises(BackendUnavailableError, match="it is gone"):
            await run
    assert backend.closed


async def test_what_the_benchmark_does_to_speech_is_what_is_judged(recording: Recording) -> None:
    judge = ToldListener()
    plan = await plan_of(recording)
    await measure(
        ScriptedBackend(),
        read_setting(PREVIEW),
        plan,
        judge,
        label="a",
        change=lambda samples, _voice: samples * np.float32(0.5),
    )
    loudest = {text: float(np.abs(said.samples).max()) for text, said in judge.speeches.items()}
    assert loudest == pytest.approx(dict.fromkeys(TEXTS, 8_000 / 32_768 / 2), rel=0.01)


async def test_clips_are_what_the_bot_makes_of_uploads(recording: Recording) -> None:
    (reference,) = await read_references([recording], ToldListener())
    assert isinstance(reference, Reference)
    assert reference.voice.transcript == SENTENCES[0]
    assert float(np.abs(reference.clip[: REFERENCE_SAMPLE_RATE // 20]).max()) < 0.1


@pytest.mark.parametrize(("damage", "times"), [("hurry", 1 / 1.17), ("babble", 4), ("echo", 2.5)])
def test_faults_can_be_made_on_purpose(damage: str, times: float) -> None:
    change = filter_of(read_setting(["preview", f"damage={damage}"]), {"ann": speech(2.0)})
    assert change is not None
    damaged = change(speech(1.0), "ann")
    assert len(damaged) / REFERENCE_SAMPLE_RATE == pytest.approx(times, abs=0.05)


def test_speech_is_judged_as_it_comes_unless_a_setting_says_otherwise() -> None:
    assert filter_of(read_setting(PREVIEW), {}) is None
    assert filter_of(read_setting(["local", "watermark=off"]), {}) is None
