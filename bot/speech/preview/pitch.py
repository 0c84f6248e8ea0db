"""Follow the pitch of a voice, also where its fundamental is missing.

WORLD's own trackers (DIO, Harvest) look for the fundamental itself. The stock voice has been
high-passed at about 150 Hz and many microphones do the same, so on a low voice they settle on the
second harmonic. Autocorrelation hears the period of all harmonics together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bot.speech.preview.prompt import MAX_PITCH, MIN_PITCH

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRAME_SECONDS = 0.005
"""Distance of pitch frames: WORLD's default, which its analysis and synthesis expect."""

_WINDOW_SECONDS = 0.05  # three periods of the lowest pitch
_SPEECH_BAND = (70.0, 2_000.0)  # Hz; higher up, periods need finer steps and noise is stronger
_CANDIDATES = 112  # about 2.5 % apart; stonemask refines what is chosen
_FINER = 3  # each candidate is the best of so many: its peak may lie between two candidates
_STEP = 2  # the path is sought in every second frame: 10 ms is fast enough for speech
_JUMP_COST = 1.2  # per octave and step, against correlations of 0..1
_OCTAVE_COST = 0.005  # per octave of period length, so that a multiple of the period does not win
_VOICED_CORRELATION = 0.4
_VOICED_LEVEL = 0.04  # of the loud frames' level


def track_pitch(
    samples: NDArray[np.float64], sample_rate: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the pitch every `FRAME_SECONDS`.

    Args:
        samples: Shape (n,), any level.
        sample_rate: In Hz.

    Returns:
        The pitch in Hz, 0 where there is no voice, and the frames' times in seconds.
    """
    frames = int(len(samples) / sample_rate / FRAME_SECONDS) + 1
    times = np.arange(frames, dtype=np.float64) * FRAME_SECONDS
    windows = _windows(_band_pass(samples, sample_rate), sample_rate, times[::_STEP])
    fine = np.geomspace(MAX_PITCH, MIN_PITCH, _CANDIDATES * _FINER).reshape(-1, _FINER)
    correlation = _periodicity(windows, sample_rate / fine.ravel())
    correlation = correlation.reshape(-1, *fine.shape).max(axis=2)
    candidates = fine[:, _FINER // 2]
    path = _smoothest_path(correlation)
    level = np.sqrt(np.mean(windows**2, axis=1))
    strength = correlation[np.arange(len(path)), path]
    voiced = (strength > _VOICED_CORRELATION) & (level > _VOICED_LEVEL * np.percentile(level, 95))
    coarse = np.where(voiced, candidates[path], 0.0)
    return _every_frame(coarse, frames), times


def _band_pass(samples: NDArray[np.float64], sample_rate: int) -> NDArray[np.float64]:
    spectrum = np.fft.rfft(samples)
    frequencies = np.fft.rfftfreq(len(samples), 1 / sample_rate)
    low, high = _SPEECH_BAND
    spectrum[(frequencies < low) | (frequencies > high)] = 0
    return np.fft.irfft(spectrum, len(samples))


def _windows(
    samples: NDArray[np.float64], sample_rate: int, times: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Cut the stretch around each time: shape (times, window)."""
    length = int(sample_rate * _WINDOW_SECONDS)
    padded = np.pad(samples, (length // 2, length))
    starts = (times * sample_rate).astype(int)
    return padded[starts[:, None] + np.arange(length)]


def _periodicity(windows: NDArray[np.float64], periods: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlate each window with itself, one period later: shape (windows, periods), up to 1.

    The window's own autocorrelation is divided out, as in P. Boersma, "Accurate short-term analysis
    of the fundamental frequency", 1993.
    """
    length = windows.shape[1]
    size = 1 << (2 * length - 1).bit_length()
    taper = np.hanning(length)
    power = np.abs(np.fft.rfft(windows * taper, size)) ** 2
    correlation = np.fft.irfft(power, size)[:, :length]
    taper_correlation = np.fft.irfft(np.abs(np.fft.rfft(taper, size)) ** 2, size)[:length]
    silence = 1e-12
    normalised = correlation / (correlation[:, :1] + silence)
    normalised /= taper_correlation / taper_correlation[0] + 1e-3
    whole = np.minimum(periods.astype(int), length - 2)
    part = periods - whole
    between = normalised[:, whole] * (1 - part) + normalised[:, whole + 1] * part
    return np.asarray(np.minimum(between, 1.0) - _OCTAVE_COST * np.log2(periods / periods[0]))


def _smoothest_path(scores: NDArray[np.float64]) -> NDArray[np.intp]:
    """Choose a candidate per frame: high scores, small jumps (Viterbi)."""
    frames, count = scores.shape
    octaves = np.log2(MAX_PITCH / MIN_PITCH) / (count - 1)
    index = np.arange(count)
    jump_cost = np.abs(index[:, None] - index[None, :]) * octaves * _JUMP_COST
    best = scores[0]
    came_from = np.zeros((frames, count), dtype=np.intp)
    for frame in range(1, frames):
        totals = best - jump_cost
        came_from[frame] = totals.argmax(axis=1)
        best = totals[index, came_from[frame]] + scores[frame]
    path = np.empty(frames, dtype=np.intp)
    path[-1] = best.argmax()
    for frame in range(frames - 1, 0, -1):
        path[frame - 1] = came_from[frame, path[frame]]
    return path


def _every_frame(coarse: NDArray[np.float64], frames: int) -> NDArray[np.float64]:
    """Fill the frames between the coarse ones; a voiced stretch ends at its last voiced frame."""
    fine = np.repeat(coarse, _STEP)[:frames]
    following = np.append(coarse[1:], 0.0)
    between = np.where((coarse > 0) & (following > 0), np.sqrt(coarse * following), 0.0)
    odd = between[: len(fine[1::_STEP])]
    fine[1::_STEP] = odd
    return fine
