"""The code of a model's process: it loads the model and answers the bot's calls."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol

from backend.contract import BackendUnavailableError, GenerationFailedError, SpeechError
from bot.speech.backend import SpeechModel
from bot.speech.worker.channel import Answer, Call, Cancel, Channel, Loaded

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

log = logging.getLogger(__name__)


class HostedModel(SpeechModel, Protocol):
    """A model that is loaded in this process. A call is cancelled by cancelling its task."""

    def details(self) -> dict[str, str | float]:
        """Describe what was loaded, for the log."""
        ...


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
    asyncio.run(_Server(connection).serve(load))


class _Server:
    """Answers each call in a task of its own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._has_broken = asyncio.Event()

    async def serve(self, load: LoadModel) -> None:
        # When the bot is gone, the process exits at once, even during a long step of the model.
        self._channel = Channel(
            self._connection, on_message=self._receive, on_end=lambda: os._exit(0)
        )
        try:
            self._model = await asyncio.to_thread(load, self._break)
        except SpeechError as error:
            self._channel.send(error)
        except Exception:
            log.exception("the model could not be loaded")
            self._channel.send(
                BackendUnavailableError("The model couldn't be loaded; the log says why.")
            )
        else:
            self._channel.send(Loaded(self._model.info(), self._model.details()))
            await self._has_broken.wait()
        self._channel.flush()
        os._exit(1)  # the bot starts another process when it needs one

    async def _break(self) -> None:
        self._has_broken.set()

    def _receive(self, message: Call | Cancel) -> None:
        if isinstance(message, Call):
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
