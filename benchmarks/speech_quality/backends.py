"""Opens the backend of a setting, as the bot would, but for what the setting changes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError

from benchmarks.speech_quality.damage import babble, echo, hurry
from benchmarks.speech_quality.errors import CannotMeasureError
from bot.settings import Settings, load_settings
from bot.speech import open_backend
from bot.speech.local.backend import load_model, service_options
from bot.speech.worker.host import WorkerBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from benchmarks.speech_quality.settings import Setting
    from bot.speech.backend import SpeechBackend

    Filter = Callable[[NDArray[np.float32], str], NDArray[np.float32]]
    """Changes samples `(n,)` at `REFERENCE_SAMPLE_RATE`, of the voice with a key."""


def open_setting(setting: Setting) -> SpeechBackend:
    """Build the backend of a setting; the caller starts it.

    Raises `CannotMeasureError` for a value that the bot would not take.
    """
    settings = _bots_settings(setting)
    if setting.backend != "local":
        return open_backend(settings)
    options = replace(
        service_options(settings),
        transcriber=None,  # transcripts are given here, or left out on purpose
        watermark=setting.ours.get("watermark") != "off",
    )
    return WorkerBackend(partial(load_model, options))


def filter_of(setting: Setting, clips: Mapping[str, NDArray[np.float32]]) -> Filter | None:
    """Return what the benchmark itself does to speech with this setting, if anything.

    That is the watermark of the preview backend, which has none of its own, or a fault that is made
    on purpose. The watermark takes seconds to load.

    Args:
        setting: The setting.
        clips: The reference clip of each voice.
    """
    if setting.backend != "preview":
        return None
    changes: list[Filter] = []
    match setting.ours.get("damage"):
        case "hurry":
            changes.append(lambda samples, _voice: hurry(samples))
        case "echo":
            changes.append(lambda samples, voice: echo(samples, clips[voice]))
        case "babble":
            changes.append(lambda samples, _voice: babble(samples))
    if setting.ours.get("watermark") == "on":
        changes.append(_marker())
    if not changes:
        return None

    def change_all(samples: NDArray[np.float32], voice: str) -> NDArray[np.float32]:
        for change in changes:
            samples = change(samples, voice)
        return samples

    return change_all


def _marker() -> Filter:
    from backend.watermark.watermark import Watermarker  # noqa: PLC0415 - heavy, and optional

    watermarker = Watermarker()

    def mark(samples: NDArray[np.float32], _voice: str) -> NDArray[np.float32]:
        stream = watermarker.stream()
        return np.concatenate([stream.push(samples), stream.finish()])

    return mark


def _bots_settings(setting: Setting) -> Settings:
    changed = {"speech_backend": setting.backend, **setting.bots}
    try:
        return Settings.model_validate({**load_settings().model_dump(), **changed})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = "_".join(map(str, first["loc"]))
        raise CannotMeasureError(f"{name} can't be used: {first['msg']}") from None
