"""The codec in a thread of its own: on a processor that has a core for it."""

from __future__ import annotations

import os
from concurrent.futures import Future
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Condition, Thread
from typing import TYPE_CHECKING, NamedTuple
from weakref import finalize

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

_LEAST_CORES = 3
"""With two cores, both have something to do already. A third thread would take turns with one of
the language model's, and the other one would wait for it in every operation."""

_CORES_A_THREAD = 4
"""A processor gives the codec one thread for so many cores. The language model reads weights, for
which a few cores are enough."""

_PIECE_FRAMES = 5
"""How many frames are decoded before an urgent call may come between."""


class Turns:
    """Lets one thread at a time use the codec. Whoever is urgent goes first."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._is_taken = False
        self._urgent = 0

    @contextmanager
    def take(self, *, is_urgent: bool) -> Iterator[None]:
        """Wait for a turn, which ends with the block."""
        with self._changed:
            self._urgent += is_urgent
            self._changed.wait_for(lambda: not self._is_taken and (is_urgent or not self._urgent))
            self._urgent -= is_urgent
            self._is_taken = True
        try:
            yield
        finally:
            with self._changed:
                self._is_taken = False
                self._changed.notify_all()


class ThreadSamples:
    """Samples that a `CodecThread` makes. It has the methods of `HostSamples`."""

    def __init__(self, made: Future[Tensor]) -> None:
        self._made = made

    def is_ready(self) -> bool:
        """Return whether they are there, or have failed."""
        return self._made.done()

    def wait(self) -> None:
        """Wait until they are there, or have failed."""
        self._made.exception()

    def read(self) -> NDArray[np.float32]:
        """Return the samples, `(rows, samples)`. Raises what the codec has raised."""
        return self._made.result().float().numpy()


class _Call(NamedTuple):
    decode: Callable[[Tensor], Tensor]
    codes: Tensor
    made: Future[Tensor]


class CodecThread:
    """Decodes frames in a thread of its own, one call at a time.

    The thread ends when nobody holds this any more, or with the process, whatever it is at.

    Args:
        threads: How many of torch's threads it computes with.
    """

    def __init__(self, threads: int) -> None:
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._last: Future[Tensor] | None = None
        is_ready: Future[None] = Future()
        # A daemon: a call that never ends must not keep the process alive.
        Thread(
            target=_decode_all,
            args=(self._calls, is_ready, threads, torch.get_num_threads()),
            name="codec",
            daemon=True,
        ).start()
        is_ready.result()
        finalize(self, self._calls.put, None)

    @property
    def is_free(self) -> bool:
        """Whether no call is being decoded."""
        return self._last is None or self._last.done()

    def begin(self, decode: Callable[[Tensor], Tensor], codes: Tensor) -> ThreadSamples:
        """Begin to decode frames.

        Args:
            decode: Decodes a piece of them, `(rows, frames, code_groups)` to `(rows, samples)`.
            codes: All of them.
        """
        self._last = Future()
        self._calls.put(_Call(decode, codes, self._last))
        return ThreadSamples(self._last)


def threads_to_spare(cores: int, threads: int) -> int:
    """Return how many threads the codec gets of its own; 0 if it is decoded between the frames.

    Args:
        cores: How many cores this process may use.
        threads: How many threads torch computes with. With one, nothing shall run beside it.
    """
    if cores < _LEAST_CORES or threads == 1:
        return 0
    return max(1, cores // _CORES_A_THREAD)


def spare_thread() -> CodecThread | None:
    """Return a thread for the codec if there is a core for it.

    Then the language model computes with fewer threads from now on, in this thread and in new ones.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = torch.get_num_threads()
    spare = threads_to_spare(cores or 1, threads)
    if not spare:
        return None
    torch.set_num_threads(min(threads, (cores or 1) - spare))
    return CodecThread(spare)


def _decode_all(
    calls: SimpleQueue[_Call | None], is_ready: Future[None], threads: int, others: int
) -> None:
    """Decode what is called for, until None comes."""
    _compute_with(threads, others)
    is_ready.set_result(None)
    while (call := calls.get()) is not None:
        try:
            pieces = torch.split(call.codes, _PIECE_FRAMES, dim=1)
            samples = torch.cat([call.decode(piece) for piece in pieces], dim=1)
        except BaseException as error:  # noqa: BLE001 - whoever reads the samples gets it
            call.made.set_exception(error)
        else:
            call.made.set_result(samples)
            del samples
        del call  # or the engine is held while nothing is to be done


def _compute_with(threads: int, others: int) -> None:
    """Let this thread compute with so many of torch's threads.

    torch keeps that number for each thread, and gives threads that are new the number that was set
    last, in any thread (`aten/src/ATen/ParallelOpenMP.cpp` in torch 2.9). So another one sets the
    number of the others again.
    """
    torch.set_num_threads(threads)
    restoring = Thread(target=torch.set_num_threads, args=(others,))
    restoring.start()
    restoring.join()
