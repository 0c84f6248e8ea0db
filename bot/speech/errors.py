"""What comes between the bot and a speech backend that it reaches over a network.

Each kind has a sentence of its own in `bot.errors.explain`; their texts are for the log.
"""

from __future__ import annotations

from backend.contract import BackendUnavailableError, SpeechError


class BackendUnreachableError(BackendUnavailableError):
    """The service that runs the backend does not answer.

    Attributes:
        retry_after: Seconds until the bot looks again, if it does not look at each request.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason, retry_after)
        self.retry_after = retry_after

    def __str__(self) -> str:
        return str(self.args[0])


class BackendNotDeployedError(BackendUnavailableError):
    """The service answers, but nobody has deployed the backend there."""


class BackendDeniesError(BackendUnavailableError):
    """The service does not accept the bot's credentials."""


class BackendQuotaError(BackendUnavailableError):
    """The account has used up what the service lets it use."""


class BackendBrokenError(BackendUnavailableError):
    """The backend is deployed, but fails in a way that only its operator can mend."""


class SpeechTimeoutError(SpeechError):
    """The answer did not come in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return f"no answer within {self.seconds:.0f} s"


class WakingTimeoutError(SpeechTimeoutError):
    """The backend was asleep, and did not wake up in time."""


class SpeechInterruptedError(SpeechError):
    """What worked on the request is gone: it crashed, or its machine was taken away."""


class SpeechStoppedError(SpeechError):
    """Somebody stopped the request from outside of the bot, such as in the service's dashboard."""
