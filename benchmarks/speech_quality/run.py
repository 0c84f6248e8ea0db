"""One setting, measured: its voices are prepared, every line is spoken, and each speech judged."""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from backend.contract import (
    REFERENCE_SAMPLE_RATE,
    BackendBusyError,
    BackendUnavailableError,
    SpeechError,
)
from benchmarks.speech_quality.errors import CannotMeasureError
from benchmarks.speech_quality.references import as_pcm, prepared_clip, raw_clip
from benchmarks.speech_quality.speaking import Line, Speech, prepare, speak_all
from bot.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from backend.contract import VoicePrompt
    from benchmarks.speech_quality.backends import Filter
    from benchmarks.speech_quality.references import Recording
    from benchmarks.speech_quality.settings import Setting
    from benchmarks.speech_quality.verdicts import Listener, Verdict, Voice
    from bot.speech.backend import SpeechBackend

_REPORT_EVERY = 24
_NOT_IN_NAMES = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, slots=True)
class Reference:
    """A recording whose voice is used, and what is known of it.

    Attributes:
        recording: The file.
        clip: The clip that the bot makes of it: `(n,)` at `REFERENCE_SAMPLE_RATE`.
        voice: What the judge measured in that clip.
    """

    recording: Recording
    clip: NDArray[np.float32]
    voice: Voice


@dataclass(frozen=True, slots=True)
class Plan:
    """What is said, the same with every setting.

    Attributes:
        references: The voices.
        sentences: What each of them says.
        takes: How often, with another seed each time.
        language: What the backend is asked for.
    """

    references: Sequence[Reference]
    sentences: Sequence[str]
    takes: int
    language: str

    def lines(self) -> list[Line]:
        """List every line, voice by voice."""
        return [
            Line(reference.voice.key, sentence, take)
            for reference in self.references
            for sentence in self.sentences
            for take in range(self.takes)
        ]


async def read_references(recordings: Sequence[Recording], judge: Listener) -> list[Reference]:
    """Make and measure the clips; say on stderr which recordings cannot be used, and why."""
    references = []
    for recording in recordings:
        try:
            clip = await prepared_clip(recording)
            voice = judge.describe(recording.key, clip, recording.transcript)
        except Refusal as refusal:
            _note(f"{recording.name} is left out: {refusal} {dict(refusal.values)}")
        except CannotMeasureError as error:
            _note(f"{recording.name} is left out: {error}")
        else:
            references.append(Reference(recording, clip, voice))
    return references


async def measure(  # noqa: PLR0913 - independent parts
    backend: SpeechBackend,
    setting: Setting,
    plan: Plan,
    judge: Listener,
    *,
    label: str,
    change: Filter | None = None,
    keep: Path | None = None,
) -> list[Verdict]:
    """Speak and judge every line with a setting. The backend is started, and closed at the end.

    Args:
        backend: The setting's backend.
        setting: Which clips and transcripts it gets.
        plan: What to say.
        judge: Who listens.
        label: What the setting is called on stderr.
        change: What to do to every speech before it is judged, if anything.
        keep: A folder for the speech as WAV files, or None.

    Raises `BackendUnavailableError` or `BackendBusyError` if the backend cannot be used.
    """
    voices = {reference.voice.key: reference.voice for reference in plan.references}
    await backend.start()
    try:
        prompts, refused = await _prompts(backend, setting, plan.references, judge)
        lines = plan.lines()
        verdicts = [
            judge.judge(
                line,
                Speech(np.zeros(0, np.float32), problem=refused[line.voice]),
                voices[line.voice],
            )
            for line in lines
            if line.voice in refused
        ]
        spoken = [line for line in lines if line.voice in prompts]
        speeches = speak_all(backend, spoken, prompts, language=plan.language, change=change)
        async with aclosing(speeches):
            async for line, speech in speeches:
                verdicts.append(
                    await asyncio.to_thread(judge.judge, line, speech, voices[line.voice])
                )
                if keep is not None:
                    _write(keep / label, line, speech, plan.sentences)
                if len(verdicts) % _REPORT_EVERY == 0 or len(verdicts) == len(lines):
                    _note(f"{label}: {len(verdicts)} of {len(lines)}")
    finally:
        await backend.close()
    return verdicts


async def _prompts(
    backend: SpeechBackend, setting: Setting, references: Sequence[Reference], judge: Listener
) -> tuple[dict[str, VoicePrompt], dict[str, str]]:
    """Make the voice prompts; also return the errors' names for voices that have none."""
    prompts: dict[str, VoicePrompt] = {}
    refused: dict[str, str] = {}
    for reference in references:
        clip, words = await _clip_for(setting, reference, judge)
        try:
            prompts[reference.voice.key] = await prepare(backend, as_pcm(clip), words)
        except (BackendUnavailableError, BackendBusyError):
            raise
        except SpeechError as error:
            refused[reference.voice.key] = type(error).__name__
            _note(f"{reference.recording.name}: no voice with {setting}: {error}")
    return prompts, refused


async def _clip_for(
    setting: Setting, reference: Reference, judge: Listener
) -> tuple[NDArray[np.float32], str | None]:
    """Return the clip that a setting clones, and its transcript if it has one."""
    has_words = setting.ours.get("transcript") != "none"
    if setting.ours.get("clip") != "raw":
        return reference.clip, reference.voice.transcript if has_words else None
    clip = await raw_clip(reference.recording)
    if not has_words:
        return clip, None
    given = reference.recording.transcript
    return clip, judge.hear(clip) if given is None else given


def _write(folder: Path, line: Line, speech: Speech, sentences: Sequence[str]) -> None:
    """Keep a speech as `VOICE/SENTENCE-TAKE.wav`, both counted from 1."""
    if len(speech.samples):
        voice = folder / _NOT_IN_NAMES.sub("-", line.voice)
        voice.mkdir(parents=True, exist_ok=True)
        name = f"{sentences.index(line.sentence) + 1:02}-{line.take + 1}.wav"
        soundfile.write(voice / name, speech.samples, REFERENCE_SAMPLE_RATE)


def _note(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 - a command-line program
