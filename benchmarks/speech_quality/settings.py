"""What can be compared: a backend, and how it is set. Read from words such as `clip=raw`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.speech_quality.errors import CannotMeasureError
from bot.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BACKENDS = ("preview", "local", "modal")

CHOICES = {
    "clip": ("prepared", "raw"),
    "transcript": ("given", "none"),
    "watermark": ("on", "off"),
    "damage": ("hurry", "echo", "babble"),
}
"""The values of each name that is ours. `docs/quality.md` says what they mean."""

_OURS = {
    "preview": ("clip", "transcript", "watermark", "damage"),
    "local": ("clip", "transcript", "watermark"),
    "modal": ("clip", "transcript"),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """A backend, and how it differs from the one that people use.

    Attributes:
        backend: One of `BACKENDS`.
        ours: Values of `CHOICES`.
        bots: Values of the bot's settings, by their names in `.env`, in lower case.
    """

    backend: str
    ours: Mapping[str, str] = field(default_factory=dict)
    bots: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        values = {**self.ours, **self.bots}
        return " ".join([self.backend, *(f"{name}={value}" for name, value in values.items())])


def read_setting(words: Sequence[str]) -> Setting:
    """Read a setting from a command line: a backend, then `name=value`, each name once at most.

    Raises `CannotMeasureError`.
    """
    backend, *changes = words
    if backend not in BACKENDS:
        raise CannotMeasureError(f"{backend} is no backend: name {_any_of(BACKENDS)} first")
    ours: dict[str, str] = {}
    bots: dict[str, str] = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals or not value:
            raise CannotMeasureError(f"{change} is no setting: write it as name=value")
        if name in ours or name in bots:
            raise CannotMeasureError(f"{name} is set twice")
        if name in _OURS[backend]:
            if value not in CHOICES[name]:
                raise CannotMeasureError(f"{name} is {_any_of(CHOICES[name])}, not {value}")
            ours[name] = value
        elif backend == "local" and name in Settings.model_fields:
            bots[name] = value
        else:
            raise CannotMeasureError(_unknown(backend, name))
    return Setting(backend, ours, bots)


def _unknown(backend: str, name: str) -> str:
    known = _any_of(_OURS[backend])
    if backend == "local":
        known += ", or a setting of the bot in lower case, such as engine"
    return f"the {backend} backend has no setting {name} here. There is {known}"


def _any_of(names: Sequence[str]) -> str:
    return " or ".join(names)
