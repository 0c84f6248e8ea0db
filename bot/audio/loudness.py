"""Brings speech to one loudness, as a whole for a file or while it is being generated.

Loudness is measured as in ITU-R BS.1770-4: K-weighted, in blocks of 0.4 s, and gated, so that
pauses do not count. It is given in LUFS. The filters and the limiter are ffmpeg's, from PyAV.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import numpy as np
from av.filter import Graph
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TARGET_LOUDNESS = -18.0
"""The loudness of all speech that goes out, in LUFS."""

TYPICAL_LOUDNESS = -23.0
"""What a voice is taken to have until it was measured, in LUFS: reference clips have it, and models
imitate them."""

CEILING = 10 ** (-1.5 / 20)
"""The highest sample of speech that goes out. Resampling and lossy codecs exceed it a little."""

LIMITER_SECONDS = 0.005
"""The limiter sees so much in advance, so its output is late by as much."""

MAX_GAIN = 18.0
"""In dB. With more, the noise of a voice that is this faint would be as loud as speech."""

_FAINTEST_SPEECH = -50.0
"""In LUFS. What is fainter is noise, and is left as it is."""

_SURE_SECONDS = 1.0
"""With less speech than this, a measured loudness is that of a word or of a breath."""

_CERTAIN_SECONDS = 4.0
"""With less speech than this, a voice's loudness from earlier is the better estimate."""

_WORD_ALLOWANCE = 9.0
"""How much more a single word is amplified than the voice usually is, in dB."""

_SENTENCE_ALLOWANCE = 4.0
"""How far the gain of a sentence may be from that of the whole speech, in dB."""

_CLOSE_ENOUGH = 0.2
_PASSES = 4
_STEP_SECONDS = 0.1
_STEPS_IN_BLOCK = 4
_NEXT_ESTIMATE = 1.02
"""How much more speech there must be until the loudness of all of it is worth another look."""

_ABSOLUTE_GATE = -70.0
_RELATIVE_GATE = -10.0
_QUIETEST_SHARE = 0.1
"""Moments with less of the loudest one's power are a beginning or a pause."""

_SLICE_SECONDS = 0.5

_FULL_SCALE = 32_768.0

Samples = NDArray[np.float32]


def to_float(pcm: bytes) -> Samples:
    """Mono s16le samples, scaled to [-1, 1]."""
    return np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(_FULL_SCALE)


def to_pcm(samples: Samples) -> bytes:
    """The reverse of `to_float`."""
    scaled = np.rint(samples * np.float32(_FULL_SCALE)).clip(-_FULL_SCALE, _FULL_SCALE - 1)
    pcm: bytes = scaled.astype("<i2").tobytes()
    return pcm


def slices(samples: Samples, sample_rate: int) -> Iterator[Samples]:
    """Samples in pieces that take a few milliseconds to process."""
    size = round(_SLICE_SECONDS * sample_rate)
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


class LoudnessMeter:
    """Measures the loudness of speech while it comes in.

    Args:
        sample_rate: In Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self._filter = _AudioFilter(sample_rate, *_k_weighting(sample_rate))
        self._step = round(_STEP_SECONDS * sample_rate)
        self._rest = np.zeros(0, np.float32)
        self._powers: list[float] = []
        self._estimate: float | None = None
        self._next_estimate = 0  # how many powers there must be until it is made again

    def push(self, samples: Samples) -> None:
        """Take the next samples, `(n,)` in [-1, 1]."""
        weighted = np.concatenate([self._rest, self._filter.push(samples)])
        whole = len(weighted) // self._step * self._step
        steps = weighted[:whole].reshape(-1, self._step)
        self._powers += np.square(steps, dtype=np.float64).mean(axis=1).tolist()
        self._rest = weighted[whole:]

    @property
    def has_measured(self) -> bool:
        """Whether there was enough to measure anything, even silence: 0.4 s."""
        return len(self._powers) >= _STEPS_IN_BLOCK

    @property
    def loudness(self) -> float | None:
        """The loudness so far, in LUFS. None for silence, and for less than 0.4 s."""
        blocks = self._gated()
        return _lufs(blocks.mean()) if len(blocks) else None

    @property
    def is_sure(self) -> bool:
        """Whether that was enough speech to know the loudness of a voice."""
        return self._speech_seconds() >= _SURE_SECONDS

    def estimate(self, known: float | None) -> float | None:
        """What loudness the voice seems to have, in LUFS, for the speech that follows.

        Args:
            known: What it had earlier, if that was measured.

        Returns:
            What was measured, if that was long enough, else what it had earlier. Of a voice that
            nobody measured, the first moments only tell whether it is louder than usual. None if
            there is nothing to go by.
        """
        if len(self._powers) < self._next_estimate:
            return self._estimate
        seconds = self._speech_seconds()
        if seconds >= (_SURE_SECONDS if known is None else _CERTAIN_SECONDS):
            # All of it is measured each time, so less and less often.
            self._estimate = self.loudness
            self._next_estimate = int(_NEXT_ESTIMATE * len(self._powers))
            return self._estimate
        if known is not None:
            return known
        so_far = np.array(self._powers or [np.square(self._rest).mean() if len(self._rest) else 0])
        power = so_far[so_far >= _QUIETEST_SHARE * so_far.max()].mean()
        return max(_lufs(power), TYPICAL_LOUDNESS) if power else None

    def _speech_seconds(self) -> float:
        return len(self._gated()) * _STEP_SECONDS

    def _gated(self) -> NDArray[np.float64]:
        """The powers of the blocks that count."""
        if not self.has_measured:
            return np.zeros(0)
        # Like pyloudnorm, the last block may lack up to half a step. That matters to a word.
        rest = (
            [np.square(self._rest).sum() / self._step] if 2 * len(self._rest) >= self._step else []
        )
        steps = np.array([*self._powers, *rest])
        windows = np.lib.stride_tricks.sliding_window_view(steps, _STEPS_IN_BLOCK)
        blocks: NDArray[np.float64] = windows.mean(axis=1)
        heard = blocks[blocks > _power(_ABSOLUTE_GATE)]
        return heard[heard > _power(_lufs(heard.mean()) + _RELATIVE_GATE)] if len(heard) else heard


class Limiter:
    """Keeps samples within `CEILING`, softly. Its output is late by `LIMITER_SECONDS`.

    Args:
        sample_rate: In Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        options = (
            f"limit={CEILING:.6f}:attack={1_000 * LIMITER_SECONDS:g}:release=50:level=0:latency=1"
        )
        self._filter = _AudioFilter(sample_rate, ("alimiter", options))

    def push(self, samples: Samples) -> Samples:
        """Take the next samples; return those that are certain."""
        return self._filter.push(samples)

    def finish(self) -> Samples:
        """Return the last samples. All in all, as many came out as went in."""
        return self._filter.finish()


def gain_for(loudness: float | None) -> float:
    """The gain, in dB, that brings a voice of that loudness to `TARGET_LOUDNESS`.

    Args:
        loudness: In LUFS; None if it is not known.
    """
    loudness = TYPICAL_LOUDNESS if loudness is None else loudness
    return 0.0 if loudness < _FAINTEST_SPEECH else min(TARGET_LOUDNESS - loudness, MAX_GAIN)


def factor(gain: float) -> float:
    """What samples are multiplied by for a gain in dB."""
    return float(10 ** (gain / 20))


def level(
    sentences: Sequence[bytes], sample_rate: int, *, expected: float | None = None
) -> list[bytes]:
    """Bring the speech of a file to `TARGET_LOUDNESS`, and keep it within `CEILING`.

    Each sentence has one gain. Longer ones are brought to the same loudness. A single word is
    amplified little more than its voice usually is. Silence stays as it is. A minute of speech
    takes some 0.4 s.

    Args:
        sentences: Mono s16le samples of each, with the pause after it.
        sample_rate: In Hz.
        expected: The loudness that the voice had earlier, in LUFS, if it is known.

    Returns:
        The samples of each sentence, as many as before.
    """
    whole, gains = _gains(sentences, sample_rate, expected)
    if not whole.has_measured or whole.loudness is None or whole.loudness < _FAINTEST_SPEECH:
        gain = gain_for(expected) if not whole.has_measured else 0.0
        return [_amplified(pcm, gain, sample_rate) for pcm in sentences]
    leveled: list[bytes] = []
    for _ in range(_PASSES):
        meter = LoudnessMeter(sample_rate)
        leveled = []
        for pcm, gain in zip(sentences, gains, strict=True):
            leveled.append(_amplified(pcm, gain, sample_rate))
            _measure(meter, leveled[-1], sample_rate)
        missing = TARGET_LOUDNESS - (meter.loudness or TARGET_LOUDNESS)
        highest = _highest_gain(whole, expected)
        corrected = [min(gain + missing, highest) for gain in gains]
        if abs(missing) < _CLOSE_ENOUGH or corrected == gains:
            break
        gains = corrected
    return leveled


def _gains(
    sentences: Sequence[bytes], sample_rate: int, expected: float | None
) -> tuple[LoudnessMeter, list[float]]:
    """Measure speech. Return the meter that measured all of it, and a gain for each sentence."""
    whole = LoudnessMeter(sample_rate)
    own: list[float | None] = []
    for pcm in sentences:
        meter = LoudnessMeter(sample_rate)
        for each in (whole, meter):
            _measure(each, pcm, sample_rate)
        own.append(meter.loudness if meter.is_sure else None)
    gain = min(gain_for(whole.loudness), _highest_gain(whole, expected))
    lowest, highest = gain - _SENTENCE_ALLOWANCE, gain + _SENTENCE_ALLOWANCE
    return whole, [
        gain if each is None else min(max(gain_for(each), lowest), highest) for each in own
    ]


def _highest_gain(meter: LoudnessMeter, expected: float | None) -> float:
    return MAX_GAIN if meter.is_sure else min(MAX_GAIN, gain_for(expected) + _WORD_ALLOWANCE)


def _measure(meter: LoudnessMeter, pcm: bytes, sample_rate: int) -> None:
    for piece in slices(to_float(pcm), sample_rate):
        meter.push(piece)


def _amplified(pcm: bytes, gain: float, sample_rate: int) -> bytes:
    samples = to_float(pcm)
    if not gain and np.abs(samples).max(initial=0.0) <= CEILING:
        return pcm
    limiter = Limiter(sample_rate)
    amplified = samples * np.float32(factor(gain))
    limited = [limiter.push(piece) for piece in slices(amplified, sample_rate)]
    return to_pcm(np.concatenate([*limited, limiter.finish()]))


class _AudioFilter:
    """A chain of ffmpeg's filters for mono float32 samples."""

    def __init__(self, sample_rate: int, *filters: tuple[str, str]) -> None:
        self._sample_rate = sample_rate
        self._graph = Graph()
        last = self._graph.add_abuffer(sample_rate=sample_rate, format="flt", layout="mono")
        for name, options in (*filters, ("aformat", "sample_fmts=flt"), ("abuffersink", "")):
            following = self._graph.add(name, options or None)
            last.link_to(following)
            last = following
        self._graph.configure()
        self._was_used = False

    def push(self, samples: Samples) -> Samples:
        if not len(samples):
            return samples
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="mono")
        frame.sample_rate = self._sample_rate
        self._graph.push(frame)
        self._was_used = True
        return self._pull()

    def finish(self) -> Samples:
        if not self._was_used:
            return np.zeros(0, np.float32)
        self._graph.push(None)
        return self._pull()

    def _pull(self) -> Samples:
        pulled = [np.zeros(0, np.float32)]
        while True:
            try:
                frame = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return np.concatenate(pulled)
            pulled.append(frame.to_ndarray()[0])


def _k_weighting(sample_rate: int) -> list[tuple[str, str]]:
    """The K-weighting of BS.1770 as ffmpeg's filters, for any sample rate.

    The standard gives coefficients for 48 kHz. These are the analogue prototypes behind them, from
    De Man, "Evaluation of Implementations of the EBU R128 Loudness Measurement" (AES, 2018).
    """
    k = np.tan(np.pi * 1_681.974450955533 / sample_rate)
    gain = 10 ** (3.999843853973347 / 20)
    band = gain**0.4996667741545416
    q = 0.7071752369554196
    shelf = (
        [gain + band * k / q + k * k, 2 * (k * k - gain), gain - band * k / q + k * k],
        [1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k],
    )
    k = np.tan(np.pi * 38.13547087602444 / sample_rate)
    q = 0.5003270373238773
    a = [1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k]
    high_pass = ([a[0], -2 * a[0], a[0]], a)  # the standard's numerator is 1, -2, 1
    return [("biquad", _biquad(b, a)) for b, a in (shelf, high_pass)]


def _biquad(b: Sequence[float], a: Sequence[float]) -> str:
    named = {f"{side}{n}": each for side, of in (("b", b), ("a", a)) for n, each in enumerate(of)}
    return ":".join([*(f"{name}={value:.17g}" for name, value in named.items()), "precision=f64"])


def _lufs(power: float) -> float:
    return float(-0.691 + 10 * np.log10(power))


def _power(lufs: float) -> float:
    return float(10 ** ((lufs + 0.691) / 10))
