"""The line between the bot and the engine's process: messages, and how they get across.

Messages are pickled, as `multiprocessing` does; both ends are our own processes, and nothing that a
user made is ever unpickled.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from backend.contract import (
        BackendInfo,
        ConsentRecord,
        PcmChunk,
        PreparedVoice,
        ReferenceClip,
        SpeechError,
        SpeechRequest,
    )

_LAST = object()


@dataclass(frozen=True, slots=True)
class Prepare:
    """The wish for a voice; answered by one `PreparedVoice`."""

    clip: ReferenceClip
    consent: ConsentRecord | None


@dataclass(frozen=True, slots=True)
class CheckHealth:
    """The wish to know whether a request would be served now; answered by nothing, or an error."""


@dataclass(frozen=True, slots=True)
class Call:
    """To the engine: something that is wanted. A `SpeechRequest` is answered by `PcmChunk`s."""

    number: int
    wish: SpeechRequest | Prepare | CheckHealth


@dataclass(frozen=True, slots=True)
class Stop:
    """To the engine: a call's answer is not wanted any more."""

    number: int


@dataclass(frozen=True, slots=True)
class Ready:
    """To the bot, first: the engine is loaded.

    Attributes:
        info: What the backend says of itself.
        details: What the operator may want to see in the log.
    """

    info: BackendInfo
    details: dict[str, str | float]


@dataclass(frozen=True, slots=True)
class NotReady:
    """To the bot, first and last: the engine cannot be loaded."""

    error: SpeechError


@dataclass(frozen=True, slots=True)
class Answer:
    """To the bot: a part of the answer to a call; None and errors end it."""

    number: int
    part: PcmChunk | PreparedVoice | SpeechError | None


class Line:
    """One end of a pipe between two processes, used from an event loop.

    Two threads wait on the pipe, because its calls block.

    Args:
        connection: This end. It closes with the line's last thread.
        on_message: Called in the event loop with each message.
        on_end: Called in the reading thread once the other process is gone.
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
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._writer.start()
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, message: object) -> None:
        """Send a message, without waiting for it to leave."""
        self._outbox.put(message)

    def flush(self) -> None:
        """Wait until everything has left; nothing can be sent after it."""
        self._outbox.put(_LAST)
        self._writer.join()

    def _write(self) -> None:
        with suppress(OSError):  # the reader notices, too, that the other end is gone
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
