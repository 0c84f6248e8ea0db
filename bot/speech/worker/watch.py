"""Judges whether a model's process gets on with its work, or hangs."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_SLOWER = 3.0
"""A process may take so many times as long to load the model as the one before it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a model's process may take, in seconds. One that takes longer hangs.

    A slow machine must not be taken for one that hangs. So nearly all of these limit the time
    without any progress.

    Attributes:
        beat: The time between two questions of how far the process is.
        boot: For the answer to such a question until the model is loaded. Python starts, and holds
            its lock while it reads native libraries, which takes minutes from a slow disk.
        silence: The same later. The process answers whatever its model does, unless native code
            holds the interpreter's lock.
        doubt: The same, after which the process isn't called healthy any more.
        step: For one step of the model, such as a frame of all sentences, or a voice prompt.
        first_load: For loading the model the first time, which may include a download over a slow
            line.
        load: For loading it again, if that takes no longer than usual; see `load_again`.
        prompt: For a voice prompt in all: waiting, transcribing and making it.
        sentence: For a sentence in all, with the time until its turn comes.
        search: For a search for the watermark in all.
        health: For an answer about its health.
        end: For a process that was killed to be gone.
    """

    beat: float = 0.5
    boot: float = 300.0
    silence: float = 60.0
    doubt: float = 10.0
    step: float = 120.0
    first_load: float = 24 * 3_600.0
    load: float = 600.0
    prompt: float = 900.0
    sentence: float = 960.0
    search: float = 300.0
    health: float = 1.0
    end: float = 2.0

    def load_again(self, last_seconds: float) -> float:
        """Return how long loading the model again may take, where it took so long the last time."""
        return min(max(self.load, _SLOWER * last_seconds), self.first_load)


class Watch:
    """Counts how long a process has made no progress.

    It counts only the time in which it is asked, by `tick`. So if the bot's process was stopped
    for an hour, as by Ctrl-Z, that hour doesn't count.

    Args:
        limits: How long what may take.
        load_seconds: How long loading the model may take.
        clock: Returns the time in seconds.
    """

    def __init__(
        self, limits: Limits, *, load_seconds: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self._limits = limits
        self._load_seconds = load_seconds
        self._clock = clock
        self._ticked_at = clock()
        self._is_loading = True
        self._loading = 0.0
        self._silent = 0.0
        self._step: int | None = None
        self._in_step = 0.0

    @property
    def loading_seconds(self) -> float:
        """How long the model has been loading, or took to load."""
        return self._loading

    @property
    def is_in_doubt(self) -> bool:
        """Whether the process has made no progress for so long that it may hang."""
        return self._silent > self._limits.doubt or self._in_step > self._limits.step / 2

    def tick(self) -> float:
        """Note that time has passed; return how much of it counts, in seconds."""
        now = self._clock()
        seconds = min(now - self._ticked_at, 2 * self._limits.beat)
        self._ticked_at = now
        self._silent += seconds
        if self._is_loading:
            self._loading += seconds
        if self._step is not None:
            self._in_step += seconds
        return seconds

    def loaded(self) -> None:
        """Note that the model is loaded."""
        self._is_loading = False

    def answered(self, step: int | None) -> None:
        """Note an answer of the process.

        Args:
            step: The number of the step that its model is at; None if it has nothing to do.
        """
        self._silent = 0.0
        if step is None or step != self._step:
            self._step, self._in_step = step, 0.0

    def verdict(self) -> str | None:
        """Say for the log why the process hangs; None if it doesn't."""
        if self._is_loading and self._loading > self._load_seconds:
            return f"the model was not loaded within {self._load_seconds:.0f} s"
        patience = self._limits.boot if self._is_loading else self._limits.silence
        if self._silent > patience:
            return f"the process did not answer for {patience:.0f} s"
        if self._in_step > self._limits.step:
            return f"no step of the model ended for {self._limits.step:.0f} s"
        return None
