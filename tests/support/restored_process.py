"""A process with generators of random numbers, of which copies go on, as from one snapshot.

Each copy prints what it draws. The last two first call `renew_random_state`, as a container does.

Python's own generator seeds itself anew where a process is copied in this way, so it isn't here.
What can't be shown either is a snapshot of Modal's, which is of a whole container, and restored on
another machine.
"""

from __future__ import annotations

import json
import os

import numpy as np
import torch

from backend.engine.sampling import draw_uniforms
from backend.random_state import renew_random_state


def draw() -> dict[str, float]:
    """Draw a number from each generator."""
    return {
        "numpy": float(np.random.random()),  # noqa: NPY002 - what packages use
        "torch": float(torch.rand(())),
        "a row": float(draw_uniforms(None, 0, (1, 1))[0, 0]),
        "a seeded row": float(draw_uniforms(7, 0, (1, 1))[0, 0]),
    }


def main() -> None:
    """Copy the process four times, and print what each copy draws, a line each."""
    draw()
    for is_renewed in (False, False, True, True):
        child = os.fork()
        if child == 0:
            if is_renewed:
                renew_random_state()
            print(json.dumps(draw()), flush=True)  # noqa: T201 - the test reads it
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
