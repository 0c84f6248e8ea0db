"""Whatever form a clip is sent in, the same samples arrive; and what is no clip does no harm."""

from __future__ import annotations

import base64
import io
import time
import tracemalloc
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backend.contract import (
    MAX_REFERENCE_SECONDS,
    MIN_REFERENCE_SECONDS,
    REFERENCE_SAMPLE_RATE,
    ReferenceClip,
    ReferenceUnusableError,
)
from backend.reference.audio import decode_audio, load_reference, read_clip, write_wav
from backend.sent_audio import MAX_AUDIO_BYTES
from tests.support.buzz import buzz
from tests.support.recordings import as_file

if TYPE_CHECKING:
    from numpy.typing import NDArray


async def no_fetch(address: str) -> bytes:
    raise AssertionError(f"{address} was asked")


def wav(samples: NDArray[np.float32], sample_rate: int = REFERENCE_SAMPLE_RATE) -> bytes:
    return audio_file(samples, sample_rate, "WAV", "PCM_16")


def audio_file(samples: NDArray[np.float32], sample_rate: int, kind: str, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format=kind, subtype=subtype)
    return file.getvalue()


def likeness(heard: NDArray[np.float32], original: NDArray[np.float32]) -> float:
    """How alike two recordings sound: the correlation of their loudness over frequency."""
    spectra = [
        np.abs(np.fft.rfft(samples[: 3 * REFERENCE_SAMPLE_RATE])) for samples in (heard, original)
    ]
    return float(np.corrcoef(spectra)[0, 1])


CLIP = buzz(150)
WAV = wav(CLIP)


@pytest.mark.parametrize("sample_rate", [8_000, 16_000, 22_050, 44_100, 44_101, 48_000, 192_000])
@pytest.mark.parametrize("channels", [1, 2])
async def test_any_sample_rate_becomes_the_models(sample_rate: int, channels: int) -> None:
    times = np.arange(4 * sample_rate) / sample_rate
    tone = (0.5 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)
    heard = await load_reference(wav(np.stack([tone] * channels, axis=1), sample_rate), no_fetch)
    assert heard.dtype == np.float32
    assert len(heard) == pytest.approx(4 * REFERENCE_SAMPLE_RATE, abs=1)
    loudest = np.argmax(np.abs(np.fft.rfft(heard))) * REFERENCE_SAMPLE_RATE / len(heard)
    assert loudest == pytest.approx(440, abs=1)
    assert np.abs(heard).max() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff", "caf"])
async def test_common_files_are_read(suffix: str) -> None:
    heard = await load_reference(as_file(CLIP, REFERENCE_SAMPLE_RATE, suffix), no_fetch)
    assert likeness(heard, CLIP) > 0.9


BASE64 = base64.b64encode(WAV).decode()


@pytest.mark.parametrize(
    "header",
    [
        "data:audio/wav;base64",
        "data:audio/x-wav;base64",
        "DATA:audio/ogg;codecs=opus;BASE64",
        'data:audio/webm;codecs="opus,vorbis";base64',
        "data:;base64",
    ],
)
async def test_a_data_url_gives_what_its_base64_gives(header: str) -> None:
    heard = await load_reference(f"{header},{BASE64}", no_fetch)
    assert np.array_equal(heard, await load_reference(WAV, no_fetch))


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("data:audio/wav,RIFF%24%00", "data URL is not base64"),
        ("data:audio/wav;base64", "data URL is not base64"),
        ("data:", "data URL is not base64"),
        ("data:audio/wav;base64,RIFF%24", "neither base64"),
        ("data:audio/wav;base64,", "empty"),
        ("data:image/png;base64,iVBORw0KGgo=", "not an audio file"),
    ],
)
async def test_any_other_data_url_is_refused_with_a_reason(url: str, problem: str) -> None:
    with pytest.raises(ReferenceUnusableError, match=problem):
        await load_reference(url, no_fetch)


async def test_bytes_base64_and_an_address_give_the_same() -> None:
    addresses = []

    async def fetch(address: str) -> bytes:
        addresses.append(address)
        return WAV

    from_bytes = await load_reference(WAV, no_fetch)
    from_base64 = await load_reference(base64.encodebytes(WAV).decode(), no_fetch)
    from_address = await load_reference("https://clips.example/a.wav", fetch)
    assert addresses == ["https://clips.example/a.wav"]
    assert np.array_equal(from_bytes, from_base64)
    assert np.array_equal(from_bytes, from_address)


@pytest.mark.parametrize(
    ("seconds", "problem"),
    [
        (0.0, "0.0 s"),
        (MIN_REFERENCE_SECONDS - 0.1, "2.9 s, but 3 s"),
        (MAX_REFERENCE_SECONDS + 0.1, "longer than 30 s"),
    ],
)
async def test_a_clip_of_another_length_is_refused(seconds: float, problem: str) -> None:
    with pytest.raises(ReferenceUnusableError, match=problem):
        await load_reference(wav(buzz(150, seconds)), no_fetch)


@pytest.mark.parametrize("seconds", [MIN_REFERENCE_SECONDS, MAX_REFERENCE_SECONDS])
async def test_the_shortest_and_the_longest_clip_serve(seconds: float) -> None:
    samples = await load_reference(wav(buzz(150, seconds)), no_fetch)
    assert len(samples) == seconds * REFERENCE_SAMPLE_RATE


@pytest.mark.parametrize(
    "sent",
    [
        "/etc/passwd",
        "etc/passwd",
        "C:\\clip.wav",
        "not base64!",
        "",
        b"",
        b"RIFF",
        WAV[:30],
        b"#EXTM3U\nfile:///etc/passwd\n",
        Path("/etc/passwd"),
        None,
        [0.0, 0.1],
    ],
)
async def test_what_is_no_audio_is_refused_and_nothing_is_opened(sent: Any) -> None:
    with pytest.raises(ReferenceUnusableError) as refusal:
        await load_reference(sent, no_fetch)
    assert "passwd" not in str(refusal.value)


async def test_too_large_a_file_is_refused_before_it_is_read() -> None:
    huge = bytes(MAX_AUDIO_BYTES + 1)
    huge_url = "data:audio/wav;base64," + "A" * (MAX_AUDIO_BYTES * 4 // 3 + 100)
    with pytest.raises(ReferenceUnusableError, match="16 MiB"):
        await load_reference(huge, no_fetch)
    with pytest.raises(ReferenceUnusableError, match="16 MiB"):
        await load_reference("A" * (MAX_AUDIO_BYTES * 4 // 3 + 100), no_fetch)
    tracemalloc.start()
    with pytest.raises(ReferenceUnusableError, match="16 MiB"):
        await load_reference(huge_url, no_fetch)
    assert tracemalloc.get_traced_memory()[1] < 1.1 * len(huge_url)  # it was not decoded
    tracemalloc.stop()


def test_hours_in_a_small_file_cost_neither_time_nor_memory() -> None:
    hours = io.BytesIO()
    with soundfile.SoundFile(hours, "w", 8_000, 1, "PCM_16", format="FLAC") as file:
        for _ in range(120):
            file.write(np.zeros(60 * 8_000, np.int16))
    assert len(hours.getvalue()) < 1_000_000
    began = time.thread_time()
    tracemalloc.start()
    with pytest.raises(ReferenceUnusableError, match="longer than 30 s"):
        decode_audio(hours.getvalue(), MAX_REFERENCE_SECONDS)
    assert time.thread_time() - began < 2
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("problem", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused(problem: float) -> None:
    samples = CLIP.copy()
    samples[100] = problem
    with pytest.raises(ReferenceUnusableError, match="not numbers"):
        decode_audio(audio_file(samples, REFERENCE_SAMPLE_RATE, "WAV", "FLOAT"), 30)


def test_a_floating_point_file_beyond_full_scale_is_brought_back() -> None:
    heard = decode_audio(audio_file(CLIP * 20, REFERENCE_SAMPLE_RATE, "WAV", "DOUBLE"), 30)
    assert np.abs(heard).max() <= 1
    assert likeness(heard, CLIP) > 0.99


@pytest.mark.parametrize(
    ("channels", "sample_rate", "problem"),
    [(3, 24_000, "two channels"), (1, 4_000, "sample rate"), (1, 384_000, "sample rate")],
)
def test_unusual_recordings_are_refused(channels: int, sample_rate: int, problem: str) -> None:
    with pytest.raises(ReferenceUnusableError, match=problem):
        decode_audio(wav(np.zeros((100, channels), np.float32), sample_rate), 30)


@settings(deadline=None)
@given(st.text(), st.sampled_from(["", "data:audio/wav;base64,", " "]))
@example("RIFF", "")
async def test_no_text_is_taken_for_audio_by_accident(text: str, prefix: str) -> None:
    async def refuse(_address: str) -> bytes:
        raise ReferenceUnusableError("it was taken for an address")

    with pytest.raises(ReferenceUnusableError):
        await load_reference(prefix + text, refuse)


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(["WAV", "FLAC", "OGG", "AIFF", "CAF", "MP3"]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8),
    st.integers(0, 100),
)
def test_a_damaged_file_gives_samples_or_a_refusal(
    kind: str, changes: list[tuple[int, int]], cut: int
) -> None:
    file = bytearray(_short_file(kind))
    for position, value in changes:
        file[position % len(file)] = value
    try:
        samples = decode_audio(bytes(file[: len(file) * (100 - cut) // 100 + 1]), 30)
    except ReferenceUnusableError:
        return
    assert samples.ndim == 1
    assert np.isfinite(samples).all()
    assert np.abs(samples).max(initial=0) <= 1


_FILES: dict[str, bytes] = {}


def _short_file(kind: str) -> bytes:
    subtypes = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}
    if kind not in _FILES:
        samples = buzz(150, 0.3)
        _FILES[kind] = audio_file(
            samples, REFERENCE_SAMPLE_RATE, kind, subtypes.get(kind, "PCM_16")
        )
    return _FILES[kind]


def test_a_clip_of_pcm_is_read_as_it_is() -> None:
    pcm = (CLIP * 32_767).astype("<i2")
    assert np.array_equal(read_clip(ReferenceClip(pcm.tobytes())), pcm / np.float32(32_768))


@pytest.mark.parametrize(
    "clip",
    [
        ReferenceClip(bytes(2 * 5 * REFERENCE_SAMPLE_RATE + 1)),
        ReferenceClip(bytes(2 * 5 * 48_000), 48_000),
        ReferenceClip(bytes(2 * REFERENCE_SAMPLE_RATE)),
        ReferenceClip(b""),
    ],
    ids=["odd", "another rate", "too short", "empty"],
)
def test_pcm_that_cannot_serve_is_refused(clip: ReferenceClip) -> None:
    with pytest.raises(ReferenceUnusableError):
        read_clip(clip)


def test_a_wav_file_holds_the_very_samples() -> None:
    pcm = (CLIP * 32_767).astype("<i2").tobytes()
    with wave.open(io.BytesIO(write_wav(pcm))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 24_000)
        assert file.readframes(file.getnframes()) == pcm
    assert write_wav(pcm).endswith(pcm)
    assert len(write_wav(b"")) == 44
