"""Where the ffmpeg executable is."""

from __future__ import annotations

from functools import cache

import imageio_ffmpeg


@cache
def ffmpeg_path() -> str:
    """Path of the ffmpeg executable that comes with the imageio-ffmpeg wheel.

    The first call looks at the disk and may start a process: make it outside of the event loop.
    Raises `RuntimeError` where neither the wheel nor the system has an ffmpeg.
    """
    path: str = imageio_ffmpeg.get_ffmpeg_exe()
    return path
