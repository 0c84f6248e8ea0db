"""Start a program with limits on what it may use. Run as a script, in a process of its own.

    python -I -S _limits.py SECONDS PROGRAM ARGUMENT...

The limits are set here, after the interpreter has started, because `subprocess`'s `preexec_fn` may
deadlock in a program with threads. Where the system lacks one of the limits (macOS lacks the one on
memory), the program runs without it.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys

LIMITS = (
    (resource.RLIMIT_AS, 512 * 1024 * 1024),  # bytes of memory
    (resource.RLIMIT_FSIZE, 0),  # no file may be written
    (resource.RLIMIT_CORE, 0),  # a crash leaves no copy of the recording behind
)

if __name__ == "__main__":
    seconds, *command = sys.argv[1:]
    for kind, limit in (*LIMITS, (resource.RLIMIT_CPU, int(seconds))):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (limit, limit))
    # The kernel ends the program after that time, whatever the parent does; exec keeps the alarm.
    signal.alarm(int(seconds))
    os.execv(command[0], command)  # noqa: S606 - the caller names the program, no shell wanted
