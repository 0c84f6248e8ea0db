"""Says on a terminal how far a download is: on one line there, and in few lines elsewhere."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOOK_EVERY_SECONDS = 0.5
_LINE_EVERY_SECONDS = 60.0
_LINE_EVERY_PERCENT = 10
_SPEED_OVER_SECONDS = 20.0
_ENOUGH_SECONDS = 3.0
"""After so long the speed is told."""


@contextmanager
def shown_progress(done: Callable[[], int], total: int, out: TextIO) -> Iterator[None]:
    """Show how much of something has come while the block runs.

    Args:
        done: Returns how many bytes are there; called in another thread, twice a second.
        total: How many bytes there will be.
        out: Where to show it. A terminal has one line, which changes. Elsewhere, such as in a log
            file, there is a line at each tenth, and at least one a minute.
    """
    is_over = threading.Event()
    meter = _Meter(total, out)

    def watch() -> None:
        while not is_over.wait(_LOOK_EVERY_SECONDS):
            meter.show(min(done(), total))

    meter.show(min(done(), total))
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()
        meter.show(min(done(), total), is_last=True)


def size(count: int) -> str:
    """A number of bytes for people: "2.52 GB", "145 MB"."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"  # noqa: PLR2004 - a GB


class _Meter:
    def __init__(self, total: int, out: TextIO) -> None:
        self._total = total
        self._out = out
        self._is_terminal = out.isatty()
        self._seen: list[tuple[float, int]] = []
        self._shown: tuple[float, int] | None = None
        self._width = 0

    def show(self, done: int, *, is_last: bool = False) -> None:
        now, percent = time.monotonic(), 100 * done // max(1, self._total)
        self._seen = [*(each for each in self._seen if now - each[0] < _SPEED_OVER_SECONDS)]
        self._seen.append((now, done))
        if not self._is_terminal and self._shown is not None and not is_last:
            when, shown = self._shown
            is_news = percent // _LINE_EVERY_PERCENT > shown // _LINE_EVERY_PERCENT
            if not is_news and now - when < _LINE_EVERY_SECONDS:
                return
        if is_last and self._shown is not None and self._shown[1] == percent:
            line = None
        else:
            line = f"  {percent:3d} %  {size(done)} of {size(self._total)}{self._speed(done)}"
            self._shown = now, percent
        self._write(line, is_last=is_last)

    def _speed(self, done: int) -> str:
        """The speed and what time is left, as far as they are known."""
        (first, before), (last, _) = self._seen[0], self._seen[-1]
        if last - first < _ENOUGH_SECONDS or done <= before or done >= self._total:
            return ""
        speed = (done - before) / (last - first)
        seconds = (self._total - done) / speed
        left = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"  # noqa: PLR2004
        return f"  {speed / 1e6:.1f} MB/s  {left} left"

    def _write(self, line: str | None, *, is_last: bool) -> None:
        try:
            if not self._is_terminal:
                if line is not None:
                    self._out.write(f"{line}\n")
            else:
                if line is not None:
                    self._out.write(f"\r{line.ljust(self._width)}")
                    self._width = len(line)
                if is_last:
                    self._out.write("\n")
            self._out.flush()
        except (OSError, ValueError):  # nobody reads it any more, which ends no download
            pass
