"""The recording that a smoke test clones: a published sample, or one given by the operator.

Needs only the standard library, because it runs on the machine that deploys.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SAMPLE = "https://qianwen-res.oss-cn-beijing.aliyuncs.com/Qwen3-TTS-Repo/clone.wav"
"""A sample that Qwen published with the model (https://github.com/QwenLM/Qwen3-TTS)."""

_SAMPLE_TRANSCRIPT = (
    "Okay. Yeah. I resent you. I love you. I respect you. "
    "But you know what? You blew it! And thanks to you."
)
_SAMPLE_CONSENT = "Published by Qwen, to try the model with"


class RecordingError(ValueError):
    """The recording cannot be used. The message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A reference clip with its transcript and consent.

    Attributes:
        audio: The bytes of a file, or a URL.
        transcript: What is said in it, if that is known.
        consent: The statement by which the speaker agreed.
    """

    audio: bytes | str
    transcript: str | None
    consent: str


def find_recording(reference: str, transcript: str, consent: str) -> Recording:
    """Return the recording that was given on the command line.

    Args:
        reference: A file on this machine, or an https URL. `SAMPLE` has its own transcript and
            consent.
        transcript: Empty if it is not known.
        consent: Empty if there is none.

    Raises `RecordingError`.
    """
    if reference == SAMPLE:
        return Recording(SAMPLE, transcript or _SAMPLE_TRANSCRIPT, consent or _SAMPLE_CONSENT)
    if not consent.strip():
        raise RecordingError(
            'Whose voice is it? Say so with --consent "This is my own voice, and it may be cloned."'
        )
    if "://" in reference:
        return Recording(reference, transcript or None, consent)
    try:
        return Recording(Path(reference).read_bytes(), transcript or None, consent)
    except OSError as error:
        raise RecordingError(f"The recording can't be read: {error.strerror}.") from error
