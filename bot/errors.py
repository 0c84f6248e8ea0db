"""What a person is told when something cannot be done."""

from __future__ import annotations

from functools import singledispatch

from backend.contract import (
    AUTO_LANGUAGE,
    BackendBusyError,
    BackendUnavailableError,
    ConsentMissingError,
    GenerationFailedError,
    LanguageNotSupportedError,
    ReferenceUnusableError,
    SpeechError,
    TextNotSpeakableError,
)


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not a fault
    """Something that was asked for is not possible, for a reason the person can act on.

    Its text is a whole sentence or two, shown to the person as it is: it names the problem and the
    remedy, and quotes nothing from an upload.
    """


@singledispatch
def explain(error: Refusal | SpeechError) -> str:
    """Put an expected failure into a sentence for the person who met it."""
    raise TypeError(f"no sentence for {type(error).__name__}")


@explain.register
def _(error: Refusal) -> str:
    return str(error)


@explain.register
def _(_error: SpeechError) -> str:
    return (
        "The voice engine could not do that. Please try again; if it keeps failing, tell an admin."
    )


@explain.register
def _(error: LanguageNotSupportedError) -> str:
    spoken = ", ".join(name for name in error.supported if name != AUTO_LANGUAGE)
    return f"I can't speak {error.language} here yet. This voice engine speaks {spoken}."


@explain.register
def _(_error: TextNotSpeakableError) -> str:
    return "I can't say part of that text aloud. Try plain words and shorter sentences."


@explain.register
def _(_error: ConsentMissingError) -> str:
    return "I need your consent before I clone a voice. Use `/clone` and confirm the statement."


@explain.register
def _(_error: ReferenceUnusableError) -> str:
    return (
        "I couldn't make a voice from this recording. "
        "Try another one: a single speaker, close to the microphone, without music."
    )


@explain.register
def _(error: BackendBusyError) -> str:
    if error.retry_after is None:
        return "Many people are speaking right now. Please try again in a moment."
    seconds = max(5, round(error.retry_after))
    return f"Many people are speaking right now. Please try again in about {seconds} s."


@explain.register
def _(_error: BackendUnavailableError) -> str:
    return "The voice engine is not reachable right now. Nothing is lost; please try again later."


@explain.register
def _(_error: GenerationFailedError) -> str:
    return "The voice engine gave no usable speech this time. Please try again."
