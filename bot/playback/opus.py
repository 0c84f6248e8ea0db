"""Find libopus, which discord.py encodes speech with, on whatever machine this is."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import discord
import structlog

from bot.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

log = structlog.get_logger(__name__)

# Where wheels of av (PyAV) keep the libraries they bring: beside the package on Linux and Windows
# (auditwheel, delvewheel), inside it on macOS (delocate).
_LIBRARIES_OF_AV = ("../av.libs/*opus*", ".dylibs/*opus*")

MISSING = (
    "I can't speak in voice channels here: this machine lacks the Opus library. "
    "Please tell an admin, and use `/say` with `where: file` meanwhile."
)


def load_opus() -> None:
    """Load the system's libopus, or else the one inside the `av` wheel. Costs a few milliseconds.

    discord.py's own wheels bring one for Windows alone. Raises `Refusal` if there is none.
    """
    try:
        discord.opus.Encoder.get_opus_version()  # loads the system's library on the way
    except discord.opus.OpusNotLoaded:
        _load_from_wheel()


def _load_from_wheel() -> None:
    for library in _inside_av():
        try:
            discord.opus.load_opus(str(library))
        except (OSError, AttributeError) as error:  # not loadable, or something else by that name
            log.debug("not a usable libopus", library=library.name, reason=repr(error))
        else:
            return
    log.error("no libopus: install it, or the Python package av")
    raise Refusal(MISSING)


def _inside_av() -> Iterator[Path]:
    spec = importlib.util.find_spec("av")
    if spec is None or spec.origin is None:
        return
    package = Path(spec.origin).parent
    for pattern in _LIBRARIES_OF_AV:
        folder, name = pattern.rsplit("/", 1)
        yield from sorted((package / folder).glob(name))
