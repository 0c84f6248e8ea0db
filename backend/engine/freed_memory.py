"""Memory that is free, but that this process still holds."""

from __future__ import annotations

import ctypes
import sys


def give_back_freed_memory() -> None:
    """Give freed memory back to the system, where the C library keeps it.

    glibc keeps what lies between blocks that are in use. After weights were packed one by one, that
    is hundreds of megabytes. https://man7.org/linux/man-pages/man3/malloc_trim.3.html
    """
    if sys.platform == "linux":  # where there may be another C library, without the function
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
