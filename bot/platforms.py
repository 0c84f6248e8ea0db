"""The systems that Timbre runs on."""

from __future__ import annotations

import sys

import structlog

log = structlog.get_logger(__name__)

_TESTED = "linux"
_EXPECTED = "darwin"
_WINDOWS = ("win32", "cygwin", "msys")


class PlatformError(Exception):
    """Timbre can't run on this system. The text says what to do."""


def check_platform(platform: str | None = None) -> None:
    """Raise `PlatformError` on Windows, and log a warning on a system that nobody has tried.

    Recordings are decoded in a process with limits on its memory, time and files, which Windows
    doesn't have. In WSL2 it is a Linux.

    Args:
        platform: The system, as `sys.platform` names it; by default this one.
    """
    platform = platform or sys.platform
    if platform.startswith(_WINDOWS):
        raise PlatformError(
            "Timbre runs on Linux, and on Windows inside WSL2, but not on Windows itself. "
            "Install WSL2 (https://learn.microsoft.com/windows/wsl/install), "
            "then install and start Timbre in there."
        )
    if not platform.startswith((_TESTED, _EXPECTED)):
        log.warning("Timbre is made for Linux, and nobody has tried it here", system=platform)
