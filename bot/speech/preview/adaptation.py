"""Measures a voice with the WORLD vocoder, and moves another voice toward it.

Moved are the pitch's median and spread, the vocal tract's length, and the mean spectrum. Words,
accent, rhythm and the shape of the melody stay. The result resembles the reference a little; it is
not a clone of it.

WORLD's own pitch trackers (DIO, Harvest) look for the fundamental. The stock voice has no sound
below about 150 Hz, nor have recordings of many microphones, so that on a low voice these trackers
settle on the second harmonic. SwiftF0, a small neural network, does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pyworld
from swift_f0 import SwiftF0

from bot.speech.preview.prompt import (
    MAX_PITCH,
    MAX_TRACT_RATIO,
    MIN_PITCH,
    MIN_TRACT_RATIO,
    SPECTRUM_BANDS,
    VoiceTarget,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MIN_VOICED_SECONDS = 0.5
"""Less voiced speech than this says too little about a voice."""

TARGET_LEVEL = 10 ** (-21.5 / 20)
"""RMS of adapted speech where it is active, full scale being 1."""

PEAK_LIMIT = 0.95

_PITCH_FLOOR = 71.0  # CheapTrick's default; it sets the envelope's resolution
_DITHER = 1e-5  # CheapTrick answers NaN to digital silence
_LOUD = 0.01  # of the loudest frames' power; quieter frames hold as much room noise as voice
_BAND_EDGES = (80.0, 9_000.0)  # Hz
_TRACT_EDGES = (100.0, 6_000.0)  # Hz: where resonances are
_TRACT_BANDS = 40
_CEPSTRUM = np.arange(2, 13)  # 0 and 1, level and tilt, depend more on the microphone
_TRACT_RATIOS = np.linspace(0.8, 1.3, 51)
_PITCH_TO_TRACT = 0.25  # across speakers, resonances rise with about this power of the pitch
_LINEAR_BELOW = 0.65  # of the Nyquist frequency; above it the stretched axis bends back
_SPREAD_CHANGE = (0.7, 1.5)
_GAIN_STRENGTH = 0.5  # the other half of a difference is microphone, room and words
_GAIN_SMOOTHING = 5  # bands
_GAIN_FREQUENCIES = (4_000.0, 9_000.0)  # Hz
_GAIN_LIMITS = (2.0, 0.7)  # natural log of power there: 8.7 dB, 3 dB; more sounds harsh or hisses
_PITCH_RANGE = (MIN_PITCH * 0.8, MAX_PITCH * 1.25)
_FADE_SECONDS = 0.008


FRAME_SECONDS = 0.005
"""Distance of pitch frames: WORLD's default, which its analysis and synthesis expect."""

_VOICED_CONFIDENCE = 0.5


class TooLittleVoiceError(Exception):
    """There is too little voiced speech to measure."""


@dataclass(frozen=True, slots=True)
class VoiceMeasure:
    """What WORLD says about a voice.

    Attributes:
        pitch: The median pitch, in Hz.
        pitch_spread: As in `VoiceTarget`.
        envelopes: Natural-log power of the loud voiced frames, shape (frames, bins), from 0 Hz to
            the Nyquist frequency.
        sample_rate: In Hz.
    """

    pitch: float
    pitch_spread: float
    envelopes: Floats
    sample_rate: int


def measure_voice(samples: Floats, sample_rate: int) -> VoiceMeasure:
    """Measure the voiced part of a recording.

    Args:
        samples: Shape (n,), in -1..1.
        sample_rate: In Hz.

    Raises `TooLittleVoiceError` below `MIN_VOICED_SECONDS`.
    """
    analysis = _analyse(samples, sample_rate)
    power = analysis.envelopes.sum(axis=1)
    voiced = (analysis.pitch >= MIN_PITCH) & (analysis.pitch <= MAX_PITCH)
    loud = voiced & (power > _LOUD * np.percentile(power, 95))
    if loud.sum() * FRAME_SECONDS < MIN_VOICED_SECONDS:
        raise TooLittleVoiceError
    low, middle, high = np.percentile(np.log(analysis.pitch[loud]), [16, 50, 84])
    return VoiceMeasure(
        pitch=float(np.exp(middle)),
        pitch_spread=float(high - low) / 2,
        envelopes=np.log(analysis.envelopes[loud]),
        sample_rate=sample_rate,
    )


def target_for(voice: VoiceMeasure, stock: VoiceMeasure) -> VoiceTarget:
    """Say how the stock voice has to change to resemble `voice`."""
    spectrum = _mean_spectrum(voice)
    return VoiceTarget(
        pitch=voice.pitch,
        pitch_spread=min(voice.pitch_spread, 2.0),
        tract_ratio=_tract_ratio(voice, stock),
        spectrum=tuple(np.clip(spectrum, -20, 20).tolist()),
    )


def adapt(samples: Floats, stock: VoiceMeasure, target: VoiceTarget) -> Floats:
    """Move speech of the stock voice toward a target.

    Args:
        samples: Shape (n,), in -1..1, at `stock.sample_rate`.
        stock: The stock voice, measured on a longer recording than `samples`.
        target: The voice to resemble.

    Returns:
        Speech of the same length at `TARGET_LEVEL`, peaks at most `PEAK_LIMIT`. Not finite only if
        the vocoder failed.
    """
    rate = stock.sample_rate
    analysis = _analyse(samples, rate)
    aperiodicity = pyworld.d4c(analysis.samples, analysis.pitch, analysis.times, rate)
    bins = np.linspace(0, rate / 2, analysis.envelopes.shape[1])
    sources = _unstretched(bins, target.tract_ratio, rate)
    envelopes = _sample_bands(np.log(analysis.envelopes), rate, sources)
    envelopes += _gain(stock, target, bins)
    speech = pyworld.synthesize(
        _move_pitch(analysis.pitch, stock, target),
        np.ascontiguousarray(np.exp(envelopes)),
        np.ascontiguousarray(_sample_bands(aperiodicity, rate, sources)),
        rate,
    )
    return _level(_fade(speech[: len(samples)], rate), rate)


@dataclass(frozen=True, slots=True)
class _Analysis:
    samples: Floats
    pitch: Floats
    times: Floats
    envelopes: Floats


def _analyse(samples: Floats, sample_rate: int) -> _Analysis:
    dither = np.random.default_rng(0).normal(0, _DITHER, len(samples))
    samples = np.ascontiguousarray(samples + dither)
    rough, times = track_pitch(samples, sample_rate)
    pitch = pyworld.stonemask(samples, rough, times, sample_rate)
    envelopes = pyworld.cheaptrick(samples, pitch, times, sample_rate, f0_floor=_PITCH_FLOOR)
    return _Analysis(samples, pitch, times, envelopes)


def _mel_spaced(edges: tuple[float, float], count: int) -> Floats:
    low, high = 2595 * np.log10(1 + np.array(edges) / 700)
    return np.asarray(700 * (10 ** (np.linspace(low, high, count) / 2595) - 1))


_BANDS = _mel_spaced(_BAND_EDGES, SPECTRUM_BANDS)


def _sample_bands(frames: Floats, sample_rate: int, frequencies: Floats) -> Floats:
    """Read frames of shape (frames, bins) at some frequencies: shape (frames, frequencies)."""
    last = frames.shape[1] - 1
    position = np.clip(frequencies / (sample_rate / 2) * last, 0, last)
    below = np.minimum(position.astype(int), last - 1)
    part = position - below
    return np.asarray(frames[:, below] * (1 - part) + frames[:, below + 1] * part)


def _unstretched(frequencies: Floats, ratio: float, sample_rate: int) -> Floats:
    """Give the frequencies that are moved to `frequencies` if resonances move by `ratio`."""
    nyquist = sample_rate / 2
    knee = _LINEAR_BELOW * nyquist
    source, moved = (knee / ratio, knee) if ratio > 1 else (knee, knee * ratio)
    return np.interp(frequencies, [0, moved, nyquist], [0, source, nyquist])


def _mean_spectrum(voice: VoiceMeasure, ratio: float = 1.0) -> Floats:
    """Average the voiced frames as if resonances had moved by `ratio`: shape (bands,), mean 0."""
    sources = _unstretched(_BANDS, ratio, voice.sample_rate)
    spectrum = _sample_bands(voice.envelopes, voice.sample_rate, sources).mean(axis=0)
    return np.asarray(spectrum - spectrum.mean())


def _tract_ratio(voice: VoiceMeasure, stock: VoiceMeasure) -> float:
    """Estimate how much shorter the voice's vocal tract is than the stock voice's.

    The geometric mean of two estimates: the likeliest stretch under a Gaussian of the stock voice's
    cepstra (vocal tract length normalisation), and what the pitch alone suggests. The first is
    uncertain on a few seconds of unknown words in an unknown language.
    """
    stock_cepstra = _cepstra(stock, 1.0)
    centre = stock_cepstra.mean(axis=0)
    precision = np.linalg.inv(_covariance(stock_cepstra))

    def misfit(ratio: float) -> float:
        cepstra = _cepstra(voice, 1 / ratio)
        distance = np.einsum("fi,ij,fj->f", cepstra - centre, precision, cepstra - centre).mean()
        return float(distance - np.linalg.slogdet(_covariance(cepstra)).logabsdet)

    likeliest = min(_TRACT_RATIOS, key=misfit)
    by_pitch = (voice.pitch / stock.pitch) ** _PITCH_TO_TRACT
    ratio = np.sqrt(likeliest * by_pitch)
    return float(np.clip(ratio, MIN_TRACT_RATIO, MAX_TRACT_RATIO))


def _covariance(cepstra: Floats) -> Floats:
    return np.asarray(np.cov(cepstra.T) + 1e-3 * np.eye(cepstra.shape[1]))


def _cepstra(voice: VoiceMeasure, ratio: float) -> Floats:
    """Describe each frame's resonances, moved by `ratio`: shape (frames, coefficients)."""
    frequencies = _unstretched(_mel_spaced(_TRACT_EDGES, _TRACT_BANDS), ratio, voice.sample_rate)
    bands = _sample_bands(voice.envelopes, voice.sample_rate, frequencies)
    angles = np.pi / _TRACT_BANDS * (np.arange(_TRACT_BANDS)[:, None] + 0.5) * _CEPSTRUM
    return np.asarray(bands @ np.cos(angles) * np.sqrt(2 / _TRACT_BANDS))


def _gain(stock: VoiceMeasure, target: VoiceTarget, bins: Floats) -> Floats:
    """Give each bin's gain, in natural log of power, that brings the mean spectra closer."""
    difference = np.array(target.spectrum) - _mean_spectrum(stock, target.tract_ratio)
    padded = np.pad(difference, _GAIN_SMOOTHING // 2, mode="edge")
    smooth = np.convolve(padded, np.ones(_GAIN_SMOOTHING) / _GAIN_SMOOTHING, mode="valid")
    limit = np.interp(_BANDS, _GAIN_FREQUENCIES, _GAIN_LIMITS)
    return np.asarray(np.interp(bins, _BANDS, np.clip(_GAIN_STRENGTH * smooth, -limit, limit)))


def _move_pitch(pitch: Floats, stock: VoiceMeasure, target: VoiceTarget) -> Floats:
    """Shift and scale a melody on the log axis; unvoiced frames stay 0."""
    change = np.clip(target.pitch_spread / max(stock.pitch_spread, 1e-3), *_SPREAD_CHANGE)
    voiced = pitch > 0
    melody = np.log(np.where(voiced, pitch, stock.pitch) / stock.pitch)
    moved = np.clip(target.pitch * np.exp(melody * change), *_PITCH_RANGE)
    return np.where(voiced, moved, 0.0)


def _fade(speech: Floats, sample_rate: int) -> Floats:
    """Fade in and out, so that joined sentences do not click."""
    length = min(int(_FADE_SECONDS * sample_rate), len(speech) // 2)
    ramp = np.linspace(0, 1, length)
    speech[:length] *= ramp
    speech[len(speech) - length :] *= ramp[::-1]
    return speech


def _level(speech: Floats, sample_rate: int) -> Floats:
    """Scale the active stretches to `TARGET_LEVEL`, as far as `PEAK_LIMIT` allows."""
    peak = np.abs(speech).max(initial=0.0)
    if not peak > 0:
        return speech
    frame = int(0.02 * sample_rate)
    frames = speech[: len(speech) // frame * frame].reshape(-1, frame)
    power = (frames**2).mean(axis=1) if len(frames) else np.array([(speech**2).mean()])
    active = power[power >= _LOUD * power.max()].mean()
    return np.asarray(speech * min(TARGET_LEVEL / np.sqrt(active), PEAK_LIMIT / peak))


def track_pitch(samples: Floats, sample_rate: int) -> tuple[Floats, Floats]:
    """Find the pitch every `FRAME_SECONDS`.

    Args:
        samples: Shape (n,), any level.
        sample_rate: In Hz.

    Returns:
        The pitch in Hz, 0 where there is no voice, and the frames' times in seconds.
    """
    frames = int(len(samples) / sample_rate / FRAME_SECONDS) + 1
    times = np.arange(frames, dtype=np.float64) * FRAME_SECONDS
    loudest = np.abs(samples).max() or 1.0
    found = _pitch_tracker().detect(samples / loudest, sample_rate, MIN_PITCH, MAX_PITCH)
    voiced = found.confidence >= _VOICED_CONFIDENCE
    if not voiced.any():
        return np.zeros(frames), times
    pitch = np.interp(times, found.timestamps[voiced], found.pitch_hz[voiced])
    confidence = np.interp(times, found.timestamps, found.confidence)
    return np.where(confidence >= _VOICED_CONFIDENCE, pitch, 0.0), times


@cache
def _pitch_tracker() -> SwiftF0:
    return SwiftF0(threads=1, spin=False)
