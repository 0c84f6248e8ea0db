"""Loads libopus, which discord.py needs to encode speech."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import discord
import structlog

from bot.errors import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

log = structlog.get_logger(__name__)

# Where wheels of av (PyAV) keep their shared libraries: beside the package on Linux and Windows
# (auditwheel, delvewheel), inside it on macOS (delocate).
_LIBRARIES_OF_AV = ("../av.libs/*opus*", ".dylibs/*opus*")


def load_opus() -> None:
    """Load the system's libopus, or else the one inside the `av` wheel; takes some milliseconds.

    discord.py's own wheels contain it for Windows only. Raises `Refusal` if neither is found.
    """
    try:
        discord.opus.Encoder.get_opus_version()  # loads the system's library as well
    except discord.opus.OpusNotLoaded:
        _load_from_wheel()


def _load_from_wheel() -> None:
    for library in _inside_av():
        try:
            discord.opus.load_opus(str(library))
        except (OSError, AttributeError) as error:  # not loadable, or not libopus
            log.debug("not a usable libopus", library=library.name, reason=repr(error))
        else:
            return
    log.error("no libopus: install it, or the Python package av")
    raise Refusal(Reason.NO_OPUS)


def _inside_av() -> Iterator[Path]:
    spec = importlib.util.find_spec("av")
    if spec is None or spec.origin is None:
        return
    package = Path(spec.origin).parent
    for pattern in _LIBRARIES_OF_AV:
        folder, name = pattern.rsplit("/", 1)
        yield from sorted((package / folder).glob(name))
