"""Random numbers after a memory snapshot: every container that starts from one has its own."""

from __future__ import annotations

import os
import random
import ssl

_SEED_BYTES = 32


def renew_random_state() -> None:
    """Seed every generator of this process anew, from the system's entropy.

    A snapshot holds the generators' states, so without this they would give the same numbers in all
    containers. What asks the system each time, as `os.urandom`, `secrets` and `uuid4` do, needs no
    seed. A row's uniforms are drawn so, too (`backend.engine.sampling.draw_uniforms`).
    """
    import numpy as np  # noqa: PLC0415 - not where `modal` runs

    random.seed(os.urandom(_SEED_BYTES))
    np.random.seed(np.frombuffer(os.urandom(_SEED_BYTES), np.uint32))  # noqa: NPY002 - the packages use it
    ssl.RAND_add(os.urandom(_SEED_BYTES), float(_SEED_BYTES))
    try:
        import torch  # noqa: PLC0415 - only where models run
    except ImportError:
        return
    # Seeds those of GPUs, too, when they are first used.
    torch.manual_seed(int.from_bytes(os.urandom(8), "little") >> 1)
