"""Errors between the bot and a speech backend in another process, or on another machine.

The messages here are for the log. `bot.interface.wording.sentences` has a sentence for
users on each error.
"""

from __future__ import annotations

from backend.contract import BackendUnavailableError, LanguageNotSupportedError, SpeechError


class TextInOtherLanguageError(LanguageNotSupportedError):
    """No language was chosen, and the text is surely in one that the backend does not speak."""


class BackendUnreachableError(BackendUnavailableError):
    """The service that runs the backend does not answer.

    Attributes:
        retry_after: The seconds until requests are tried again; None if the next one is.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason, retry_after)
        self.retry_after = retry_after

    def __str__(self) -> str:
        return str(self.args[0])


class BackendNotDeployedError(BackendUnavailableError):
    """The service answers, but the backend is not deployed there."""


class BackendDeniesError(BackendUnavailableError):
    """The service does not accept the bot's credentials."""


class BackendQuotaError(BackendUnavailableError):
    """The account has used up its quota at the service."""


class BackendBrokenError(BackendUnavailableError):
    """The backend is deployed, but fails in a way that only its operator can fix."""


class BackendStartingError(BackendUnavailableError):
    """The backend is starting. A request would wait for it."""


class BackendNotAnsweringError(BackendUnavailableError):
    """The backend has made no progress for a while. If it hangs, it is replaced soon."""


class BackendKeepsFailingError(BackendUnavailableError):
    """The backend has failed several times in a row, so it isn't started again at once.

    Attributes:
        failures: How many times in a row.
        retry_after: The seconds until a request starts it again.
    """

    def __init__(self, failures: int, retry_after: float) -> None:
        super().__init__(failures, retry_after)
        self.failures = failures
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"it failed {self.failures} times in a row, and rests for {self.retry_after:.0f} s"


class SpeechTimeoutError(SpeechError):
    """The answer did not come in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return f"no answer within {self.seconds:.0f} s"


class WakingTimeoutError(SpeechTimeoutError):
    """The backend was scaled to zero, and did not start in time."""


class SpeechInterruptedError(SpeechError):
    """The process or machine that worked on the request is gone."""


class SpeechStuckError(SpeechInterruptedError):
    """The process that worked on the request made no progress any more, and was replaced."""


class SpeechStoppedError(SpeechError):
    """Somebody cancelled the request outside of the bot, such as in the service's dashboard."""
