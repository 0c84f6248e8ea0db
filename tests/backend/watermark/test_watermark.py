"""The watermark: always there, never heard, and never seen where it is not."""

from __future__ import annotations

import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.contract import BackendUnavailableError
from backend.watermark.watermark import MarkingStream, Watermarker
from bot.audio.decode import ffmpeg_path
from bot.audio.loudness import to_float, to_pcm
from bot.audio.tempo import Tempo
from tests.backend.watermark.marking import mark
from tests.support.operations import work_of
from tests.support.recordings import as_file, resample, speech

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

RATE = 24_000
PACKAGE_RATE = 32_000


@pytest.fixture(scope="module")
def watermarker() -> Watermarker:
    return Watermarker()


@pytest.fixture(scope="module")
def marked(watermarker: Watermarker) -> NDArray[np.float32]:
    """Eight seconds of speech, marked."""
    return mark(watermarker, quiet_speech(8))


def quiet_speech(seconds: float) -> NDArray[np.float32]:
    """Speech whose mark cannot push it over full scale."""
    return speech(seconds, RATE) * np.float32(0.5)


def is_marked(watermarker: Watermarker, samples: NDArray[np.float32]) -> bool:
    return watermarker.confidence(samples) >= Watermarker.THRESHOLD


def sent_as_opus(
    samples: NDArray[np.float32], bitrate: str, rate: int = 48_000
) -> NDArray[np.float32]:
    """The samples, sent as Ogg/Opus, played at `rate` and brought back to 24 kHz."""
    data = as_file(samples, RATE, "ogg", "-b:a", bitrate)
    command = [ffmpeg_path(), "-nostdin", "-loglevel", "error", "-f", "ogg", "-i", "pipe:0"]
    command += ["-f", "f32le", "-ac", "1", "-ar", str(rate), "pipe:1"]
    done = subprocess.run(command, input=data, capture_output=True, check=True)  # noqa: S603 - our own arguments
    return resample(np.frombuffer(done.stdout, np.float32), rate, RATE)


def marked_in_pieces(
    watermarker: Watermarker, samples: NDArray[np.float32], lengths: Iterable[int]
) -> list[NDArray[np.float32]]:
    stream = watermarker.stream()
    pieces, start = [], 0
    for length in lengths:
        pieces.append(stream.push(samples[start : start + length]))
        start += length
    return [*pieces, stream.push(samples[start:]), stream.finish()]


def decibels(signal: NDArray[np.float32], noise: NDArray[np.float32]) -> float:
    return float(10 * np.log10(np.square(signal).sum() / np.square(noise).sum()))


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.25, 2.0])
def test_a_speed_that_was_asked_for_keeps_the_mark(
    watermarker: Watermarker, marked: NDArray[np.float32], speed: float
) -> None:
    tempo = Tempo(RATE, speed)
    pcm = tempo.push(to_pcm(marked)) + tempo.finish()
    assert watermarker.confidence(to_float(pcm)) > 0.98


@pytest.mark.parametrize(("bitrate", "rate"), [("32k", 48_000), ("24k", 44_100), ("32k", 16_000)])
def test_the_mark_survives_opus(
    watermarker: Watermarker, marked: NDArray[np.float32], bitrate: str, rate: int
) -> None:
    assert is_marked(watermarker, sent_as_opus(marked, bitrate, rate))
    assert not is_marked(watermarker, sent_as_opus(quiet_speech(8), bitrate, rate))


def test_one_second_out_of_a_reply_is_enough(
    watermarker: Watermarker, marked: NDArray[np.float32]
) -> None:
    sent = sent_as_opus(marked, "32k")
    unmarked = sent_as_opus(quiet_speech(8), "32k")
    seconds = [slice(start, start + RATE) for start in range(0, 7 * RATE, RATE)]
    assert all(is_marked(watermarker, sent[second]) for second in seconds)
    assert not any(is_marked(watermarker, unmarked[second]) for second in seconds)


def test_a_marked_sentence_is_found_in_a_long_unmarked_recording(
    watermarker: Watermarker, marked: NDArray[np.float32]
) -> None:
    unmarked = np.tile(quiet_speech(8), 2)
    assert is_marked(watermarker, np.concatenate([unmarked, marked[: 4 * RATE]]))
    assert not is_marked(watermarker, unmarked)


@pytest.fixture(scope="module")
def package() -> Any:
    """The package's own watermarker.

    It is given sound at its own sample rate. Its resampling compiles itself, which takes 10 s.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*pkg_resources")
        from perth import PerthImplicitWatermarker  # noqa: PLC0415 - seconds to import

    return PerthImplicitWatermarker()


def test_the_package_itself_finds_the_mark(package: Any, marked: NDArray[np.float32]) -> None:
    assert package.get_watermark(resample(marked, RATE, PACKAGE_RATE), PACKAGE_RATE) == 1
    assert package.get_watermark(resample(quiet_speech(8), RATE, PACKAGE_RATE), PACKAGE_RATE) == 0


def test_the_mark_is_what_the_package_would_have_added(
    package: Any, watermarker: Watermarker
) -> None:
    speech_at_32 = resample(quiet_speech(2), RATE, PACKAGE_RATE)
    theirs = package.apply_watermark(speech_at_32, PACKAGE_RATE)
    their_mark = resample(theirs - speech_at_32[: len(theirs)], PACKAGE_RATE, RATE)
    clean = resample(speech_at_32, PACKAGE_RATE, RATE)
    our_mark = (mark(watermarker, clean) - clean)[: len(their_mark)]
    inside = slice(2_400, -2_400)  # at the very ends the package sees mirrored sound, ours silence
    assert decibels(their_mark[inside], (our_mark - their_mark)[inside]) > 40


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 20_000), max_size=12), st.integers(0, 50_000))
def test_however_it_is_cut_a_recording_is_marked_the_same(
    watermarker: Watermarker, lengths: list[int], total: int
) -> None:
    samples = quiet_speech(4)[:total]
    pieces = marked_in_pieces(watermarker, samples, lengths)
    joined = np.concatenate(pieces)
    assert len(joined) == len(samples)
    assert joined == pytest.approx(mark(watermarker, samples), abs=1e-6)


def test_a_stream_is_never_later_than_it_says(watermarker: Watermarker) -> None:
    stream = watermarker.stream()
    pushed = returned = 0
    for piece in np.array_split(quiet_speech(3), 37):
        pushed += len(piece)
        returned += len(stream.push(piece))
        assert pushed - returned <= MarkingStream.DELAY_SECONDS * RATE
    assert returned + len(stream.finish()) == pushed


def test_the_first_piece_of_320_ms_is_heard_at_once(watermarker: Watermarker) -> None:
    first = watermarker.stream().push(quiet_speech(0.32))
    assert len(first) >= 0.1 * RATE


def test_a_finished_stream_takes_nothing_more(watermarker: Watermarker) -> None:
    stream = watermarker.stream()
    stream.push(quiet_speech(1))
    stream.finish()
    with pytest.raises(ValueError, match="finished"):
        stream.push(quiet_speech(1))


def test_the_mark_is_hard_to_hear(marked: NDArray[np.float32]) -> None:
    clean = quiet_speech(8)
    mark = marked - clean
    assert decibels(clean, mark) > 14
    power = np.square(np.abs(np.fft.rfft(mark)))
    above = power[np.fft.rfftfreq(len(mark), 1 / RATE) > 2_200]
    assert above.sum() / power.sum() < 1e-4


def test_no_piece_begins_with_a_click(watermarker: Watermarker) -> None:
    clean = quiet_speech(5)
    pieces = marked_in_pieces(watermarker, clean, [1_920] * 60)
    mark = np.concatenate(pieces) - clean
    jumps = np.abs(np.diff(mark, 2, prepend=[0, 0]))
    cuts = np.cumsum([len(piece) for piece in pieces])[:-1]
    cuts = cuts[cuts < len(mark) - 2]
    # A band-limited mark bends slowly everywhere; a click would be a sudden jump at a cut.
    assert jumps[np.concatenate([cuts, cuts + 1])].max() <= np.quantile(jumps, 0.9999)
    assert jumps.max() < 0.02 * np.abs(clean).max()


def test_full_scale_speech_stays_within_full_scale(watermarker: Watermarker) -> None:
    loud = speech(3, RATE) / np.abs(speech(3, RATE)).max()
    assert np.abs(mark(watermarker, loud)).max() <= 1.0


@pytest.mark.parametrize("seconds", [0, 1 / RATE, 0.005, 0.03, 0.1, 0.25])
def test_the_shortest_sounds_keep_their_length(watermarker: Watermarker, seconds: float) -> None:
    samples = quiet_speech(1)[: round(seconds * RATE)]
    out = mark(watermarker, samples)
    assert len(out) == len(samples)
    assert np.isfinite(out).all()
    assert not is_marked(watermarker, out)


@pytest.mark.parametrize("seconds", [0.5, 1.0])
def test_a_single_word_is_marked(watermarker: Watermarker, seconds: float) -> None:
    word = quiet_speech(4)[RATE : RATE + round(seconds * RATE)]
    assert is_marked(watermarker, mark(watermarker, word))
    assert not is_marked(watermarker, word)


def test_silence_stays_silent_and_unmarked(watermarker: Watermarker) -> None:
    silence = np.zeros(3 * RATE, np.float32)
    out = mark(watermarker, silence)
    assert np.abs(out).max() == 0
    assert not is_marked(watermarker, silence)


@pytest.mark.parametrize("loudness", [1e-5, 1e-3, 0.1])
def test_noise_is_not_taken_for_marked(watermarker: Watermarker, loudness: float) -> None:
    noise = np.random.default_rng(0).normal(0, loudness, 5 * RATE).astype(np.float32)
    assert not is_marked(watermarker, noise)
    assert is_marked(watermarker, mark(watermarker, noise))


def test_threads_may_share_it(watermarker: Watermarker) -> None:
    voices = [quiet_speech(4)[start : start + RATE] for start in range(0, RATE * 4, RATE)]
    alone = [mark(watermarker, voice) for voice in voices]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda voice: mark(watermarker, voice), voices))
    for one, other in zip(alone, together, strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_it_says_nothing_on_the_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    Watermarker()
    assert capfd.readouterr() == ("", "")


def test_without_the_package_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "perth", None)
    with pytest.raises(
        BackendUnavailableError, match=r"the watermark can.t be loaded.*pip install"
    ):
        Watermarker()


def test_marking_costs_little(watermarker: Watermarker) -> None:
    voice = quiet_speech(8)
    assert work_of(lambda: mark(watermarker, voice)).numbers / len(voice) < 200
