"""The code of a model's process: it loads the model and answers the bot's calls."""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol

from backend.contract import BackendUnavailableError, GenerationFailedError, SpeechError
from bot.speech.backend import SpeechModel
from bot.speech.worker.channel import Answer, Call, Cancel, Channel, Loaded, Ping, Pong

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

log = logging.getLogger(__name__)


class HostedModel(SpeechModel, Protocol):
    """A model that is loaded in this process. A call is cancelled by cancelling its task."""

    def step_under_way(self) -> int | None:
        """Return the number of the step that the model is at, or None if it has nothing to do.

        It must change whenever the model gets on: while it keeps a number for too long, the model
        hangs, and this process is replaced.
        """
        ...

    def details(self) -> dict[str, str | float]:
        """Describe what was loaded, for the log.

        "load_seconds", if it is there, is how long loading took, without a download.
        """
        ...


TRACEBACKS: int | None = getattr(signal, "SIGUSR1", None)
"""The signal for the process to write to stderr where each thread is; None on Windows."""

_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>

LoadModel = Callable[[Callable[[], Awaitable[None]]], HostedModel]
"""Loads a model; blocks. Raises `BackendUnavailableError` with a message for the operator.

Its argument is a function that ends the process, so that the bot starts another one. The model
calls it after a failure from which it cannot recover.
"""


def serve(connection: Connection, load: LoadModel) -> None:
    """Load a model and answer calls, until the bot's end of the connection closes.

    Args:
        connection: The pipe to the bot.
        load: Called once, in this process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches this process too; the bot ends it
    if TRACEBACKS is not None:
        faulthandler.register(TRACEBACKS)
    _end_with_parent()
    asyncio.run(_Server(connection).serve(load))


def _end_with_parent() -> None:
    """Have the system kill this process when the bot ends, even while this process hangs.

    The end of the pipe ends it too, but that takes the interpreter's lock. Other systems than Linux
    have no such signal: https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class _Server:
    """Answers each call in a task of its own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._has_broken = asyncio.Event()
        self._model: HostedModel | None = None

    async def serve(self, load: LoadModel) -> None:
        # When the bot is gone, the process exits at once, even during a long step of the model.
        self._channel = Channel(
            self._connection, on_message=self._receive, on_end=lambda: os._exit(0)
        )
        try:
            self._model = model = await asyncio.to_thread(load, self._break)
        except SpeechError as error:
            self._channel.send(error)
        except Exception:
            log.exception("the model could not be loaded")
            self._channel.send(
                BackendUnavailableError("The model couldn't be loaded; the log says why.")
            )
        else:
            self._channel.send(Loaded(model.info(), model.details()))
            await self._has_broken.wait()
        self._channel.flush()
        os._exit(1)  # the bot starts another process when it needs one

    async def _break(self) -> None:
        self._has_broken.set()

    def _receive(self, message: Call | Cancel | Ping) -> None:
        if isinstance(message, Ping):
            step = None if self._model is None else self._model.step_under_way()
            self._channel.send(Pong(step))
        elif isinstance(message, Call):
            self._calls[message.number] = asyncio.create_task(self._answer(message))
        elif message.number in self._calls:
            self._calls[message.number].cancel()

    async def _answer(self, call: Call) -> None:
        try:
            answer = getattr(self._model, call.method)(*call.arguments)
            if call.method == "speak":
                async with aclosing(answer) as chunks:
                    async for chunk in chunks:
                        self._channel.send(Answer(call.number, chunk))
            elif (result := await answer) is not None:
                self._channel.send(Answer(call.number, result))
            self._channel.send(Answer(call.number, None))
        except SpeechError as error:
            self._channel.send(Answer(call.number, error))
        except Exception as error:  # noqa: BLE001 - the bot waits for an answer in any case
            log.error("a call failed with %s", type(error).__name__)  # noqa: TRY400 - texts stay out of logs
            failure = GenerationFailedError("the voice engine failed")
            self._channel.send(Answer(call.number, failure))
        finally:
            del self._calls[call.number]
