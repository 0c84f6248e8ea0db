"""Opens the backend of a setting, as the bot would, but for what the setting changes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError

from benchmarks.speech_quality.settings import UnknownSettingError
from bot.settings import Settings, load_settings
from bot.speech import open_backend
from bot.speech.local.backend import load_model, service_options
from bot.speech.worker.host import WorkerBackend

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from benchmarks.speech_quality.settings import Setting
    from bot.speech.backend import SpeechBackend

    Filter = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def open_setting(setting: Setting) -> SpeechBackend:
    """Build the backend of a setting; the caller starts it.

    Raises `UnknownSettingError` for a value that the bot would not take.
    """
    settings = _bots_settings(setting)
    if setting.backend != "local":
        return open_backend(settings)
    options = replace(
        service_options(settings),
        transcriber=None,  # transcripts are given here, or left out on purpose
        dtype=setting.ours.get("dtype"),
        watermark=setting.ours.get("watermark") != "off",
    )
    return WorkerBackend(partial(load_model, options))


def filter_of(setting: Setting) -> Filter | None:
    """Return what the benchmark itself does to speech with this setting, if anything.

    That is the watermark of the preview backend, which has none of its own. The function takes and
    returns samples `(n,)` at `REFERENCE_SAMPLE_RATE`, and takes seconds to load.
    """
    if setting.backend != "preview" or setting.ours.get("watermark") != "on":
        return None
    from backend.watermark.watermark import Watermarker  # noqa: PLC0415 - heavy, and optional

    watermarker = Watermarker()

    def mark(samples: NDArray[np.float32]) -> NDArray[np.float32]:
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
        raise UnknownSettingError(f"{name} can't be used: {first['msg']}") from None
