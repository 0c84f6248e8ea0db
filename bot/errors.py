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
from bot.speech.errors import (
    BackendBrokenError,
    BackendDeniesError,
    BackendNotDeployedError,
    BackendQuotaError,
    BackendUnreachableError,
    SpeechInterruptedError,
    SpeechStoppedError,
    SpeechTimeoutError,
    WakingTimeoutError,
)


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not a fault
    """Something that was asked for is not possible, for a reason the person can act on.

    Its text is a whole sentence or two, shown to the person as it is: it names the problem and the
    remedy, and quotes nothing from an upload.
    """


_SENTENCES: dict[type[SpeechError], str] = {
    SpeechError: (
        "The voice engine could not do that. Please try again; if it keeps failing, tell an admin."
    ),
    TextNotSpeakableError: (
        "I can't say part of that text aloud. Try plain words and shorter sentences."
    ),
    ConsentMissingError: (
        "I need your consent before I clone a voice. Use `/clone` and confirm the statement."
    ),
    ReferenceUnusableError: (
        "I couldn't make a voice from this recording. "
        "Try another one: a single speaker, close to the microphone, without music."
    ),
    BackendUnavailableError: (
        "The voice engine is not reachable right now. Nothing is lost; please try again later."
    ),
    GenerationFailedError: "The voice engine gave no usable speech this time. Please try again.",
    BackendNotDeployedError: (
        "The voice engine is not set up yet. Please tell an admin: it has to be deployed to Modal. "
        "I find it by myself once it is there."
    ),
    BackendDeniesError: (
        "The voice engine does not let me in. Please tell an admin: "
        "the bot's Modal token has to be renewed."
    ),
    BackendBrokenError: (
        "The voice engine does not work as it is set up. "
        "Please tell an admin: its log, and mine, say what is wrong."
    ),
    BackendQuotaError: (
        "The voice engine has reached its quota for now. "
        "Please try again later, or ask an admin to raise it."
    ),
    SpeechTimeoutError: (
        "That took the voice engine too long, so I stopped it. "
        "Please try again; a shorter text may help."
    ),
    WakingTimeoutError: (
        "The voice engine did not wake up in time. Please try again in a minute; "
        "if that fails too, tell an admin."
    ),
    SpeechInterruptedError: (
        "The voice engine broke down while it worked on that. "
        "Another one starts by itself: please try again in a minute."
    ),
    SpeechStoppedError: (
        "Someone stopped that at the voice engine before it was done. Please try again."
    ),
}
"""What is told of errors that carry nothing worth telling. A kind that is not here is told as the
next more general one."""


@singledispatch
def explain(error: Refusal | SpeechError) -> str:
    """Put an expected failure into a sentence for the person who met it."""
    raise TypeError(f"no sentence for {type(error).__name__}")


@explain.register
def _(error: SpeechError) -> str:
    return next(_SENTENCES[kind] for kind in type(error).__mro__ if kind in _SENTENCES)


@explain.register
def _(error: Refusal) -> str:
    return str(error)


@explain.register
def _(error: LanguageNotSupportedError) -> str:
    spoken = ", ".join(name for name in error.supported if name != AUTO_LANGUAGE)
    return f"I can't speak {error.language} here yet. This voice engine speaks {spoken}."


@explain.register
def _(error: BackendBusyError) -> str:
    if error.retry_after is None:
        return "Many people are speaking right now. Please try again in a moment."
    seconds = max(5, round(error.retry_after))
    return f"Many people are speaking right now. Please try again in about {seconds} s."


@explain.register
def _(error: BackendUnreachableError) -> str:
    if error.retry_after is None:
        return "I can't reach the voice engine right now. Please try again in a minute."
    seconds = max(5, round(error.retry_after))
    return (
        "I can't reach the voice engine right now. "
        f"I look for it again in about {seconds} s; please try again then."
    )
