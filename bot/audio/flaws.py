"""Flaws of a recording that make the cloned voice worse: clipping, noise, music, a second voice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soxr
from numpy.lib.stride_tricks import sliding_window_view

from backend.contract import REFERENCE_SAMPLE_RATE
from bot.audio.speech_activity import WINDOW, in_windows, runs
from bot.errors import Note, Remark

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bot.audio.trimming import Span

_CLIPPED = 0.95
"""From this magnitude on, samples count as clipped. Resampling and lossy codecs move clipped
samples a little away from 1."""

_DISTORTED_SHARE = 0.005
_HIGHEST_CONTRAST = 60.0
_NOISY = 10.0
"""A recording is noisy if speech is less than this many decibels above the pauses."""

_FEWEST_PAUSES = 5
"""In windows. Where there is less of a pause, the quietest moments between sounds stand for it."""

_BETWEEN_SOUNDS = 0.08
"""The quietest windows of speech without a pause, up to this share, are between its sounds."""

_AUDIBLE_MUSIC = 35.0
"""Music that is more than so many decibels below the speech is not looked for."""

_EDGE_WINDOWS = 3
"""So much of a pause on either side belongs to words that fade."""

_FRAME = 2_048
_FRAMES_TOGETHER = 3
"""Spectra of so many frames are averaged: a sixth of a second, through which a note lasts."""

_MUSIC_BINS = slice(round(90 * _FRAME / REFERENCE_SAMPLE_RATE), round(4_000 * _FRAME / 24_000))
_AROUND = 12
_TONE = 12.0
"""A bin of a spectrum is a tone if it is so many times as strong as the bins around it."""

_TONAL_SHARE = 0.5
_FEWEST_SPECTRA = 3

_PITCH_RATE = 8_000
_PITCH_FRAME = 512
_PITCH_HOP = 160
_LAGS = slice(_PITCH_RATE // 420, _PITCH_RATE // 65)
_VOICED = 0.6
_PIECE_FRAMES = 40
"""Pieces of 0.8 s have one pitch each: long enough for a median, shorter than a turn of speech."""

_FEWEST_VOICED = 10
_TWO_VOICES = 6.0
"""Two groups of pieces belong to two voices if their pitches are so many semitones apart. Within
one person's calm speech, the medians of pieces stay closer together."""

_FEWEST_PIECES = 3


def contrast(samples: NDArray[np.float32], speech: NDArray[np.bool_]) -> float:
    """How many decibels speech is above the pauses, at most 60.

    Args:
        samples: `(n,)`.
        speech: What `SpeechDetector.find_speech` found in `samples`; some of it is True.
    """
    power = np.square(in_windows(samples)).mean(axis=1, dtype=np.float64)
    # The quietest moments between sounds are no louder than a pause. A detector may miss words, and
    # breaths and faint words are in the pauses, so only the quietest quarter of those counts.
    quiet = np.quantile(power, _BETWEEN_SOUNDS)
    pauses = power[~_with_edges(speech)]
    if len(pauses) >= _FEWEST_PAUSES:
        quiet = min(quiet, np.quantile(pauses, 0.25))
    return min(_HIGHEST_CONTRAST, decibels(power[speech].mean()) - decibels(float(quiet)))


def find_flaws(
    samples: NDArray[np.float32], speech: NDArray[np.bool_], span: Span
) -> tuple[Note, ...]:
    """Return notes on flaws of a recording that make the cloned voice worse.

    Args:
        samples: `(n,)`, not scaled yet.
        speech: What `SpeechDetector.find_speech` found in `samples`.
        span: The part that is used. Other voices and music are looked for only there.
    """
    flaws = []
    if is_clipped(in_windows(samples)[speech]).mean() > _DISTORTED_SHARE:
        flaws.append(Note(Remark.RECORDING_CLIPS))
    how_clear = contrast(samples, speech)
    if how_clear < _AUDIBLE_MUSIC and _has_music(samples, speech):
        flaws.append(Note(Remark.RECORDING_HAS_MUSIC))
    elif how_clear < _NOISY:
        flaws.append(Note(Remark.RECORDING_NOISY))
    if _has_two_voices(samples, speech, span):
        flaws.append(Note(Remark.RECORDING_HAS_TWO_VOICES))
    return tuple(flaws)


def is_clipped(samples: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which samples are clipped."""
    return np.abs(samples) >= _CLIPPED


def decibels(power: float) -> float:
    """A mean square in dB relative to full scale."""
    return float(10 * np.log10(power + 1e-12))


def _with_edges(speech: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Speech, and the windows around it in which words fade."""
    padded = np.pad(speech, _EDGE_WINDOWS)
    around = sliding_window_view(padded, 2 * _EDGE_WINDOWS + 1)
    return np.asarray(around.any(axis=1))


def _has_music(samples: NDArray[np.float32], speech: NDArray[np.bool_]) -> bool:
    """Whether tones are heard through the pauses, which noise does not have."""
    tonal = [
        is_tonal
        for start, end in runs(~_with_edges(speech)).tolist()
        for is_tonal in _tones_in(samples[start * WINDOW : end * WINDOW])
    ]
    return len(tonal) >= _FEWEST_SPECTRA and sum(tonal) >= _TONAL_SHARE * len(tonal)


def _tones_in(pause: NDArray[np.float32]) -> list[bool]:
    """For each sixth of a second of a pause, whether its spectrum has peaks as tones do."""
    hop = _FRAME // 2
    if len(pause) < _FRAME + (_FRAMES_TOGETHER - 1) * hop:
        return []
    frames = sliding_window_view(pause, _FRAME)[::hop]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(_FRAME), axis=1)))
    count = len(power) // _FRAMES_TOGETHER
    spectra = power[: count * _FRAMES_TOGETHER].reshape(count, _FRAMES_TOGETHER, -1).mean(axis=1)
    spectra = spectra[:, _MUSIC_BINS] + 1e-12
    around = sliding_window_view(
        np.pad(spectra, ((0, 0), (_AROUND, _AROUND)), "reflect"), 2 * _AROUND + 1, axis=1
    )
    peaks = spectra > _TONE * np.median(around, axis=2)
    return [bool(found) for found in peaks.any(axis=1)]


def _has_two_voices(samples: NDArray[np.float32], speech: NDArray[np.bool_], span: Span) -> bool:
    """Whether the pitches of a recording's pieces fall into two groups, as of a man and a woman.

    Two voices of nearly the same pitch are not told apart.
    """
    start, end = span
    pitches: list[float] = []
    for begin, stop in (runs(speech[start:end]) + start).tolist():
        of_run = _semitones(samples[begin * WINDOW : stop * WINDOW])
        for piece in range(0, len(of_run), _PIECE_FRAMES):
            voiced = of_run[piece : piece + _PIECE_FRAMES]
            voiced = voiced[np.isfinite(voiced)]
            if len(voiced) >= _FEWEST_VOICED:
                pitches.append(float(np.median(voiced)))
    ordered = np.sort(pitches)
    for split in range(_FEWEST_PIECES, len(ordered) - _FEWEST_PIECES + 1):
        low, high = ordered[:split], ordered[split:]
        apart = high.mean() - low.mean()
        if apart > _TWO_VOICES and apart > 4 * max(low.std(), high.std()):
            return True
    return False


def _semitones(speech: NDArray[np.float32]) -> NDArray[np.float64]:
    """The pitch of each 20 ms of some speech, in semitones above 1 Hz; NaN without voice.

    It is the first high peak of the autocorrelation, which is divided by that of the window:
    Boersma, 1993, "Accurate short-term analysis of the fundamental frequency".
    """
    low = soxr.resample(speech, REFERENCE_SAMPLE_RATE, _PITCH_RATE)
    if len(low) < _PITCH_FRAME:
        return np.zeros(0)
    window = np.hanning(_PITCH_FRAME)
    frames = sliding_window_view(low, _PITCH_FRAME)[::_PITCH_HOP]
    frames = (frames - frames.mean(axis=1, keepdims=True)) * window
    similar = _autocorrelation(frames) / _autocorrelation(window[None])
    similar = similar[:, _LAGS]
    best = similar.max(axis=1)
    first = np.argmax(similar >= 0.9 * best[:, None], axis=1)
    # The highest point of that first peak, not where it begins to rise.
    reach = np.minimum(first[:, None] + np.arange(8), similar.shape[1] - 1)
    lags = np.take_along_axis(reach, np.take_along_axis(similar, reach, 1).argmax(1)[:, None], 1)
    power = np.square(frames).mean(axis=1)
    voiced = (best >= _VOICED) & (power > 0.05 * np.percentile(power, 90))
    pitch = 12 * np.log2(_PITCH_RATE / (lags[:, 0] + _LAGS.start))
    return np.where(voiced, pitch, np.nan)


def _autocorrelation(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """The autocorrelation of each frame, 1 without a lag."""
    spectrum = np.fft.rfft(frames, 2 * _PITCH_FRAME, axis=1)
    similar = np.fft.irfft(np.square(np.abs(spectrum)), axis=1)[:, :_PITCH_FRAME]
    return similar / (similar[:, :1] + 1e-12)
