"""The messages between the bot and a model's process, and the pipe for them.

`multiprocessing` pickles the messages. Both ends are our own processes, and no data from users is
ever unpickled.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from backend.contract import BackendInfo, PcmChunk, PreparedVoice, SpeechError

Method = Literal["health", "prepare_voice", "speak", "find_watermark"]

_LAST = object()


@dataclass(frozen=True, slots=True)
class Call:
    """To the process: call a method of its model."""

    number: int
    method: Method
    arguments: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Cancel:
    """To the process: cancel a call, if it is still running."""

    number: int


@dataclass(frozen=True, slots=True)
class Ping:
    """To the process: say how far you are."""


@dataclass(frozen=True, slots=True)
class Pong:
    """To the bot: the answer to a `Ping`.

    Attributes:
        step: The number of the step that the model is at; None if it has nothing to do.
    """

    step: int | None


@dataclass(frozen=True, slots=True)
class Loaded:
    """To the bot, as the first message: the model is loaded.

    If loading fails, a `SpeechError` is sent instead.

    Attributes:
        info: The model's description of itself.
        details: More details, for the log.
    """

    info: BackendInfo
    details: dict[str, str | float]


@dataclass(frozen=True, slots=True)
class Answer:
    """To the bot: a part of the answer to a call. None and errors end the answer."""

    number: int
    part: PcmChunk | PreparedVoice | bool | SpeechError | None


class Channel:
    """One end of a pipe between two processes, used from an event loop.

    Reading and writing block, so each has its own thread.

    Args:
        connection: This end of the pipe.
        on_message: Called in the event loop with each message.
        on_end: Called in the reading thread when the other process is gone.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        on_message: Callable[[Any], None],
        on_end: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._on_message = on_message
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._outbox: SimpleQueue[object] = SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="voice engine", daemon=True)
        self._writer.start()
        self._reader = threading.Thread(target=self._read, name="voice engine", daemon=True)
        self._reader.start()

    def send(self, message: object) -> None:
        """Send a message, without waiting until it is written."""
        self._outbox.put(message)

    def flush(self) -> None:
        """Wait until every message is written. Nothing can be sent afterwards."""
        self._outbox.put(_LAST)
        self._writer.join()

    def close(self, *, within: float) -> None:
        """End both threads, and close this end of the pipe. Blocks, at most `within` seconds.

        The other process may hold its end still, as may a process that it has started.
        """
        self._outbox.put(_LAST)
        # Closing it would not wake a thread that reads. On Windows it isn't a socket.
        with suppress(OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as pipe:
            pipe.shutdown(socket.SHUT_RDWR)
        for thread in (self._reader, self._writer):
            thread.join(within)
        if not (self._reader.is_alive() or self._writer.is_alive()):
            self._connection.close()

    def _write(self) -> None:
        with suppress(OSError):  # the reading thread notices that the other process is gone
            while (message := self._outbox.get()) is not _LAST:
                self._connection.send(message)

    def _read(self) -> None:
        try:
            while True:
                message = self._connection.recv()
                self._loop.call_soon_threadsafe(self._on_message, message)
        except (EOFError, OSError):
            pass  # the other process is gone
        finally:
            self._outbox.put(_LAST)
            self._on_end()
