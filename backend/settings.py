"""A deployment's settings, read from environment variables.

Needs only the standard library, because `modal deploy` runs on machines without torch. The
container reads the same variables again when it imports the app.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, get_args

from backend.engine.interface import TextLayout
from backend.weights.checkpoints import DEFAULT_MODEL_ID, PUBLISHED
from backend.weights.formats import WeightChoice

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_TRANSCRIBER = "mobiuslabsgmbh/faster-whisper-large-v3-turbo"
"""Whisper large-v3-turbo, converted for CTranslate2."""

_NO_TRANSCRIBER = "none"
_SECRET = re.compile(r"[\w.-]{1,64}", re.ASCII)
_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
_REGION = re.compile(r"[a-z]{2}(?:-[a-z0-9]+)*", re.ASCII)
_ENGINES = ("timbre", "reference")
_Word = TypeVar("_Word", bound=str)
_YES = ("1", "true", "yes", "on")
_NO = ("0", "false", "no", "off")

_SHORTEST_IDLE_SECONDS, _LONGEST_IDLE_SECONDS = 2, 3_600  # the range that Modal accepts
_MOST_GPUS = 10  # the most fallbacks that Modal accepts: https://modal.com/docs/guide/gpu
_MOST_CONTAINERS = 100  # more than any bot needs, and low enough to catch a typing error


class DeploySettingsError(ValueError):
    """A setting cannot be used. The text says which one, and what it may be."""


@dataclass(frozen=True, slots=True)
class DeploySettings:
    """Every setting of a deployment. The names in capitals are the environment variables.

    Attributes:
        model_id: `MODEL_ID`: a published checkpoint, or a folder inside the container that holds
            one, such as a folder on the volume.
        gpus: `GPU`: Modal's names of GPUs, in order of preference.
        scaledown_window: `SCALEDOWN_WINDOW`: how long an idle container is kept, in seconds.
        min_containers: `MIN_CONTAINERS`: how many are kept even without calls, which costs money.
        max_containers: `MAX_CONTAINERS`: the most containers at once, which limits the cost.
        buffer_containers: `BUFFER_CONTAINERS`: how many idle ones are kept while others work.
        regions: `REGION`: Modal's names of the regions where containers may run; empty for all.
        memory_snapshot: `MEMORY_SNAPSHOT`: whether containers start from a snapshot of the main
            memory of an earlier one, with the packages and weights.
        gpu_snapshot: `GPU_SNAPSHOT`: whether that holds the GPU's memory, too.
        require_consent: `REQUIRE_CONSENT`: whether a voice needs its owner's consent.
        transcriber: `TRANSCRIBER_MODEL`: a Whisper model converted for CTranslate2, by its
            repository on the hub or its folder in the container; None for no transcriber.
        plain_package: `ENGINE`: whether qwen-tts generates with its own loop, to compare with ours.
        text_layout: `TEXT_LAYOUT`: whether prompts have the text "before" the speech or "along" it.
        cuda_graphs: `CUDA_GRAPHS`: whether decode steps are captured as CUDA graphs.
        weights: `WEIGHTS`: the number format of the language model's weights; "auto" is what suits
            the GPU.
        api_secret: `API_SECRET`: the name of the secret on Modal with the keys of the HTTP API;
            empty if the API isn't deployed.
    """

    model_id: str = DEFAULT_MODEL_ID
    gpus: tuple[str, ...] = PUBLISHED[0].gpus
    scaledown_window: int = 300
    min_containers: int = 0
    max_containers: int = 1
    buffer_containers: int = 0
    regions: tuple[str, ...] = ()
    memory_snapshot: bool = True
    gpu_snapshot: bool = False
    require_consent: bool = True
    transcriber: str | None = DEFAULT_TRANSCRIBER
    plain_package: bool = False
    text_layout: TextLayout = "before"
    cuda_graphs: bool = True
    weights: WeightChoice = "auto"
    api_secret: str = ""

    @property
    def repositories(self) -> list[str]:
        """The repositories on the hub that the weights come from."""
        is_published = any(checkpoint.model_id == self.model_id for checkpoint in PUBLISHED)
        repositories = [self.model_id] if is_published else []
        if self.transcriber is not None and not self.transcriber.startswith("/"):
            repositories.append(self.transcriber)
        return repositories

    def as_environment(self) -> dict[str, str]:
        """The variables from which `read_deploy_settings` reads these settings."""
        return {
            "MODEL_ID": self.model_id,
            "GPU": ",".join(self.gpus),
            "SCALEDOWN_WINDOW": str(self.scaledown_window),
            "MIN_CONTAINERS": str(self.min_containers),
            "MAX_CONTAINERS": str(self.max_containers),
            "BUFFER_CONTAINERS": str(self.buffer_containers),
            "REGION": ",".join(self.regions),
            "MEMORY_SNAPSHOT": str(int(self.memory_snapshot)),
            "GPU_SNAPSHOT": str(int(self.gpu_snapshot)),
            "REQUIRE_CONSENT": str(int(self.require_consent)),
            "TRANSCRIBER_MODEL": self.transcriber or _NO_TRANSCRIBER,
            "ENGINE": _ENGINES[self.plain_package],
            "TEXT_LAYOUT": self.text_layout,
            "CUDA_GRAPHS": str(int(self.cuda_graphs)),
            "WEIGHTS": self.weights,
            "API_SECRET": self.api_secret,
        }


def read_deploy_settings(environment: Mapping[str, str]) -> DeploySettings:
    """Read the settings. A variable that is empty or not set gets its default.

    Raises `DeploySettingsError` for the first one that cannot be used.
    """
    set_ones = {name: value.strip() for name, value in environment.items() if value.strip()}
    model_id = _model_id(set_ones.get("MODEL_ID", DEFAULT_MODEL_ID))
    fitting = {checkpoint.model_id: checkpoint.gpus for checkpoint in PUBLISHED}
    defaults = DeploySettings(gpus=fitting.get(model_id, PUBLISHED[0].gpus)).as_environment()
    given = {**defaults, **set_ones}
    settings = DeploySettings(
        model_id=model_id,
        gpus=_gpus(given["GPU"]),
        scaledown_window=_number(
            given, "SCALEDOWN_WINDOW", range(_SHORTEST_IDLE_SECONDS, _LONGEST_IDLE_SECONDS + 1)
        ),
        min_containers=_number(given, "MIN_CONTAINERS", range(_MOST_CONTAINERS + 1)),
        max_containers=_number(given, "MAX_CONTAINERS", range(1, _MOST_CONTAINERS + 1)),
        buffer_containers=_number(given, "BUFFER_CONTAINERS", range(_MOST_CONTAINERS)),
        regions=_regions(given["REGION"]),
        memory_snapshot=_switch(given, "MEMORY_SNAPSHOT"),
        gpu_snapshot=_switch(given, "GPU_SNAPSHOT"),
        require_consent=_switch(given, "REQUIRE_CONSENT"),
        transcriber=_transcriber(given["TRANSCRIBER_MODEL"]),
        plain_package=_one_of(_ENGINES, "ENGINE", given) == _ENGINES[1],
        text_layout=_one_of(get_args(TextLayout), "TEXT_LAYOUT", given),
        cuda_graphs=_switch(given, "CUDA_GRAPHS"),
        weights=_one_of(get_args(WeightChoice), "WEIGHTS", given),
        api_secret=_secret(given["API_SECRET"]),
    )
    if settings.min_containers > settings.max_containers:
        raise DeploySettingsError("MIN_CONTAINERS must not exceed MAX_CONTAINERS.")
    if settings.buffer_containers >= settings.max_containers:
        raise DeploySettingsError("BUFFER_CONTAINERS must be below MAX_CONTAINERS.")
    if settings.gpu_snapshot and not settings.memory_snapshot:
        raise DeploySettingsError("GPU_SNAPSHOT needs MEMORY_SNAPSHOT, which must be 1.")
    return settings


def _model_id(value: str) -> str:
    # A folder may exist only in the container, so it cannot be checked here.
    published = [checkpoint.model_id for checkpoint in PUBLISHED]
    if value in published or value.startswith("/"):
        return value
    raise DeploySettingsError(
        f"MODEL_ID must be {' or '.join(published)}, "
        "or the full path of a folder in the container that holds a checkpoint."
    )


def _gpus(value: str) -> tuple[str, ...]:
    gpus = tuple(name.strip() for name in value.split(",") if name.strip())
    if 1 <= len(gpus) <= _MOST_GPUS:
        return gpus
    raise DeploySettingsError(
        f"GPU can't be used: name 1 to {_MOST_GPUS} GPUs, separated by commas."
    )


def _regions(value: str) -> tuple[str, ...]:
    regions = tuple(name.strip() for name in value.split(",") if name.strip())
    if all(_REGION.fullmatch(name) for name in regions):
        return regions
    raise DeploySettingsError(
        "REGION can't be used: name Modal's regions, such as eu or us-east, separated by commas."
    )


def _number(given: Mapping[str, str], name: str, allowed: range) -> int:
    value = given[name]
    if value.isascii() and value.isdecimal() and int(value) in allowed:
        return int(value)
    raise DeploySettingsError(f"{name} must be a whole number from {allowed[0]} to {allowed[-1]}.")


def _switch(given: Mapping[str, str], name: str) -> bool:
    value = given[name].lower()
    if value in _YES + _NO:
        return value in _YES
    raise DeploySettingsError(f"{name} must be 1 for yes or 0 for no.")


def _transcriber(value: str) -> str | None:
    if value.lower() == _NO_TRANSCRIBER:
        return None
    if value.startswith("/") or _REPOSITORY.fullmatch(value):
        return value
    raise DeploySettingsError(
        "TRANSCRIBER_MODEL must be a repository on the hub such as Systran/faster-whisper-small, "
        "the full path of a folder in the container, or none."
    )


def _secret(value: str) -> str:
    if not value or _SECRET.fullmatch(value):
        return value
    raise DeploySettingsError("API_SECRET must be the name of a secret on Modal, like timbre-api.")


def _one_of(choices: tuple[_Word, ...], name: str, given: Mapping[str, str]) -> _Word:
    for choice in choices:
        if choice == given[name]:
            return choice
    *others, last = choices
    raise DeploySettingsError(f"{name} must be {', '.join(others)} or {last}.")
