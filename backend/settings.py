"""What an operator decides when deploying, read from environment variables.

Needs only the standard library: `modal deploy` runs on machines without torch, and the container
reads the same variables again when it imports the app.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.weights.checkpoints import DEFAULT_MODEL_ID, PUBLISHED, parse_gpus

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_TRANSCRIBER = "mobiuslabsgmbh/faster-whisper-large-v3-turbo"
"""Whisper large-v3-turbo, converted for CTranslate2."""

_NO_TRANSCRIBER = "none"
_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
_ENGINES = ("timbre", "reference")
_YES = ("1", "true", "yes", "on")
_NO = ("0", "false", "no", "off")

_SHORTEST_IDLE_SECONDS, _LONGEST_IDLE_SECONDS = 2, 3_600  # what Modal takes
_MOST_CONTAINERS = 100  # far beyond any bot, near enough to catch a slip of the finger


class DeploySettingsError(ValueError):
    """A setting cannot be used. The text says which one, and what it may be."""


@dataclass(frozen=True, slots=True)
class DeploySettings:
    """Every setting of a deployment; the names in capitals are the variables.

    Attributes:
        model_id: `MODEL_ID`: a published checkpoint, or a folder inside the container that holds
            one, such as a folder on the volume.
        gpus: `GPU`: by Modal's names, the first choice first.
        scaledown_window: `SCALEDOWN_WINDOW`: how long an idle container stays, in seconds.
        min_containers: `MIN_CONTAINERS`: how many stay when nobody speaks, and cost money.
        max_containers: `MAX_CONTAINERS`: the cap on what it may cost.
        require_consent: `REQUIRE_CONSENT`: whether a voice needs its owner's consent.
        transcriber: `TRANSCRIBER_MODEL`: a Whisper model converted for CTranslate2, by its
            repository on the hub or its folder in the container; None for no transcriber.
        plain_package: `ENGINE`: whether qwen-tts speaks with its own loop, to compare with ours.
        cuda_graphs: `CUDA_GRAPHS`: whether the GPU's work is recorded and replayed.
    """

    model_id: str = DEFAULT_MODEL_ID
    gpus: tuple[str, ...] = PUBLISHED[0].gpus
    scaledown_window: int = 300
    min_containers: int = 0
    max_containers: int = 1
    require_consent: bool = True
    transcriber: str | None = DEFAULT_TRANSCRIBER
    plain_package: bool = False
    cuda_graphs: bool = True

    def as_environment(self) -> dict[str, str]:
        """Give the variables that `read_deploy_settings` reads these settings from."""
        return {
            "MODEL_ID": self.model_id,
            "GPU": ",".join(self.gpus),
            "SCALEDOWN_WINDOW": str(self.scaledown_window),
            "MIN_CONTAINERS": str(self.min_containers),
            "MAX_CONTAINERS": str(self.max_containers),
            "REQUIRE_CONSENT": str(int(self.require_consent)),
            "TRANSCRIBER_MODEL": self.transcriber or _NO_TRANSCRIBER,
            "ENGINE": _ENGINES[self.plain_package],
            "CUDA_GRAPHS": str(int(self.cuda_graphs)),
        }


def read_deploy_settings(environment: Mapping[str, str]) -> DeploySettings:
    """Read the settings; a variable that is empty or not there leaves the default.

    Raises `DeploySettingsError` for the first that cannot be used.
    """
    given = {name: value.strip() for name, value in environment.items()}
    defaults = DeploySettings()
    model_id = _model_id(given.get("MODEL_ID") or defaults.model_id)
    settings = DeploySettings(
        model_id=model_id,
        gpus=_gpus(given.get("GPU", ""), model_id),
        scaledown_window=_number(
            given,
            "SCALEDOWN_WINDOW",
            defaults.scaledown_window,
            range(_SHORTEST_IDLE_SECONDS, _LONGEST_IDLE_SECONDS + 1),
        ),
        min_containers=_number(
            given, "MIN_CONTAINERS", defaults.min_containers, range(_MOST_CONTAINERS + 1)
        ),
        max_containers=_number(
            given, "MAX_CONTAINERS", defaults.max_containers, range(1, _MOST_CONTAINERS + 1)
        ),
        require_consent=_switch(given, "REQUIRE_CONSENT", defaults.require_consent),
        transcriber=_transcriber(given.get("TRANSCRIBER_MODEL") or defaults.transcriber),
        plain_package=_plain_package(given.get("ENGINE") or _ENGINES[defaults.plain_package]),
        cuda_graphs=_switch(given, "CUDA_GRAPHS", defaults.cuda_graphs),
    )
    if settings.min_containers > settings.max_containers:
        raise DeploySettingsError("MIN_CONTAINERS must not exceed MAX_CONTAINERS.")
    return settings


def _model_id(value: str) -> str:
    # A folder may be one that only the container has, so it cannot be looked for here.
    published = [checkpoint.model_id for checkpoint in PUBLISHED]
    if value in published or value.startswith("/"):
        return value
    raise DeploySettingsError(
        f"MODEL_ID must be {' or '.join(published)}, "
        "or the full path of a folder in the container that holds a checkpoint."
    )


def _gpus(value: str, model_id: str) -> tuple[str, ...]:
    if not value:
        fitting = {checkpoint.model_id: checkpoint.gpus for checkpoint in PUBLISHED}
        return fitting.get(model_id, PUBLISHED[0].gpus)
    try:
        return parse_gpus(value)
    except ValueError as error:
        raise DeploySettingsError(f"GPU cannot be used: {error}.") from None


def _number(given: Mapping[str, str], name: str, default: int, allowed: range) -> int:
    value = given.get(name)
    if not value:
        return default
    if value.isascii() and value.isdecimal() and int(value) in allowed:
        return int(value)
    raise DeploySettingsError(f"{name} must be a whole number from {allowed[0]} to {allowed[-1]}.")


def _switch(given: Mapping[str, str], name: str, default: bool) -> bool:
    value = given.get(name, "").lower()
    if not value:
        return default
    if value not in _YES + _NO:
        raise DeploySettingsError(f"{name} must be 1 for yes or 0 for no.")
    return value in _YES


def _transcriber(value: str | None) -> str | None:
    if value is None or value.lower() == _NO_TRANSCRIBER:
        return None
    if value.startswith("/") or _REPOSITORY.fullmatch(value):
        return value
    raise DeploySettingsError(
        "TRANSCRIBER_MODEL must be a repository on the hub such as Systran/faster-whisper-small, "
        "the full path of a folder in the container, or none."
    )


def _plain_package(value: str) -> bool:
    if value not in _ENGINES:
        raise DeploySettingsError(f"ENGINE must be {' or '.join(_ENGINES)}.")
    return value == "reference"
