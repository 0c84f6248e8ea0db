"""The sentences for what the voice engine raises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend import contract
from backend.contract import AUTO_LANGUAGE, SpeechError
from bot.speech import errors

if TYPE_CHECKING:
    from collections.abc import Iterable

MIN_RETRY_SECONDS = 5

_SPEECH_ERRORS: dict[type[SpeechError], str] = {
    SpeechError: (
        "The voice engine couldn't do that. "
        "Please try again; if it keeps failing, tell whoever runs this bot."
    ),
    contract.TextNotSpeakableError: (
        "I can't say part of that text aloud. Try plain words and shorter sentences."
    ),
    contract.ConsentMissingError: (
        "I have no record that this voice may be cloned, so I can't speak with it. "
        "Make it again with `/clone`, and choose its `permission`."
    ),
    contract.ReferenceUnusableError: (
        "I couldn't make a voice from this recording. "
        "Try another one: a single speaker, close to the microphone, without music."
    ),
    contract.BackendUnavailableError: (
        "The voice engine isn't available right now. Nothing is lost; please try again later."
    ),
    contract.GenerationFailedError: (
        "The voice engine gave no usable speech this time. Please try again."
    ),
    errors.BackendNotDeployedError: (
        "The voice engine isn't set up yet. Please tell whoever runs this bot: "
        "it has to be deployed to Modal. I'll find it by myself once it's there."
    ),
    errors.BackendDeniesError: (
        "The voice engine doesn't let me in. "
        "Please tell whoever runs this bot: my key for it has to be renewed."
    ),
    errors.BackendBrokenError: (
        "The voice engine is misconfigured. Please tell whoever runs this bot."
    ),
    errors.BackendQuotaError: (
        "The voice engine has reached its quota for now. "
        "Please try again later, or ask whoever runs this bot to raise it."
    ),
    errors.BackendStartingError: (
        "The voice engine is waking up. What you ask for now starts as soon as it's ready."
    ),
    errors.BackendNotAnsweringError: (
        "The voice engine hasn't answered for a while. "
        "If it doesn't soon, I'll start it again by myself."
    ),
    errors.SpeechTimeoutError: (
        "The voice engine took too long, so I stopped it. "
        "Please try again; a shorter text may help."
    ),
    errors.WakingTimeoutError: (
        "The voice engine didn't wake up in time. Please try again in a minute; "
        "if that fails too, tell whoever runs this bot."
    ),
    errors.SpeechInterruptedError: (
        "The voice engine broke down while it worked on that. "
        "Another one starts by itself, so please try again in a minute."
    ),
    errors.SpeechStuckError: (
        "The voice engine got stuck while it worked on that, so I'm starting it again. "
        "Please try again in a minute."
    ),
    errors.SpeechStoppedError: (
        "Someone stopped that at the voice engine before it was done. Please try again."
    ),
}
"""Sentences for kinds of errors; any other kind has the sentence of its nearest base class."""


def explain_speech_error(error: SpeechError) -> str:
    """Put an error of the voice engine into a sentence for the person who met it."""
    match error:
        case contract.LanguageNotSupportedError():
            guessed = isinstance(error, errors.TextInOtherLanguageError)
            return _language_not_supported(
                error.language, languages(error.supported), guessed=guessed
            )
        case contract.BackendBusyError():
            when = "in a moment" if error.retry_after is None else _soon(error.retry_after)
            return f"Many people are speaking right now. Please try again {when}."
        case errors.BackendUnreachableError():
            sentence = "I can't reach the voice engine right now."
            if error.retry_after is None:
                return f"{sentence} Please try again in a minute."
            when = _soon(error.retry_after)
            return f"{sentence} I'll look for it again {when}; please try again then."
        case errors.BackendKeepsFailingError():
            return (
                "The voice engine keeps breaking down. I'll start it again "
                f"{_soon(error.retry_after)}; please try again then. "
                "If it still fails, tell whoever runs this bot."
            )
        case _:
            kinds = type(error).__mro__
            return next(_SPEECH_ERRORS[kind] for kind in kinds if kind in _SPEECH_ERRORS)


def languages(names: Iterable[str]) -> list[str]:
    """The languages among the values of the option `language`."""
    return [name for name in names if name != AUTO_LANGUAGE]


def _language_not_supported(wanted: str, spoken: list[str], *, guessed: bool) -> str:
    if len(spoken) == 1:
        article = "an" if spoken[0][0] in "AEIOU" else "a"
        remedy = f"only {spoken[0]}. Write {article} {spoken[0]} text"
    else:
        remedy = f"{', '.join(spoken)}. Write in one of these"
    problem = f"I can't speak {wanted} here yet."
    if guessed:
        problem = f"That looks like {wanted}. {problem}"
        remedy += ", choose a `language` if I'm wrong"
    return (
        f"{problem} This voice engine speaks {remedy}, "
        "or ask whoever runs this bot for another engine."
    )


def _soon(seconds: float) -> str:
    return f"in about {max(MIN_RETRY_SECONDS, round(seconds))} seconds"
