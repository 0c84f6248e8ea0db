"""The engine's process, as the bot sees it: started, asked, and ended."""

from __future__ import annotations

import asyncio
import multiprocessing
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

from backend.contract import BackendUnavailableError, GenerationFailedError, SpeechError
from bot.speech.worker.channel import Answer, Call, Line, NotReady, Ready, Stop
from bot.speech.worker.process import serve

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from backend.contract import PcmChunk, PreparedVoice, SpeechRequest
    from bot.speech.worker.channel import CheckHealth, Prepare
    from bot.speech.worker.process import LoadEngine

    Part = PcmChunk | PreparedVoice

_ENDED_LOADING = (
    "The voice engine's process ended while it was loading the model, as it does where memory runs "
    "out. Choose a smaller model with MODEL_ID, or free some memory, then start again."
)


class EngineProcess:
    """A child process that loads an engine and answers calls until it ends or is ended.

    It ends by itself when this process does, however that comes about. Must be made in a running
    event loop.

    Args:
        load: Loads the engine, in the child.
    """

    def __init__(self, load: LoadEngine) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would inherit locks and threads
        ours, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, load), daemon=True)
        self._process.start()
        theirs.close()  # so that the pipe closes when the child is gone
        self._loop = asyncio.get_running_loop()
        self._is_over = False
        self._numbers = count()
        self._greeting: asyncio.Future[Ready | NotReady] = self._loop.create_future()
        self._answers: dict[int, asyncio.Queue[Part | SpeechError | None]] = {}
        self._line = Line(ours, on_message=self._receive, on_end=self._notice_end)

    @property
    def is_over(self) -> bool:
        """Whether it has ended, so that another one is needed."""
        return self._is_over or not self._process.is_alive()

    async def ready(self) -> Ready:
        """Wait until the engine is loaded.

        Raises `BackendUnavailableError` with a sentence for the operator if it cannot be.
        """
        greeting = await asyncio.shield(self._greeting)
        if isinstance(greeting, NotReady):
            raise greeting.error
        return greeting

    async def answers(
        self, wish: SpeechRequest | Prepare | CheckHealth
    ) -> AsyncGenerator[Part, None]:
        """Have the engine do something, and give its answer as it comes.

        Closing the iterator stops the work. Raises what the engine raises, and
        `GenerationFailedError` if the process ends meanwhile.
        """
        await self.ready()
        number = next(self._numbers)
        parts = self._answers[number] = asyncio.Queue()
        self._line.send(Call(number, wish))
        try:
            while (part := await parts.get()) is not None:
                if isinstance(part, SpeechError):
                    raise part
                yield part
        finally:
            del self._answers[number]
            self._line.send(Stop(number))

    async def end(self) -> None:
        """End the process, whatever it is doing; calls fail with `BackendUnavailableError`."""
        self._give_up(BackendUnavailableError("the voice engine is shutting down"))
        await asyncio.to_thread(self._process.join)

    def _receive(self, message: Ready | NotReady | Answer) -> None:
        if isinstance(message, Answer):
            if message.number in self._answers:
                self._answers[message.number].put_nowait(message.part)
        elif not self._greeting.done():
            self._greeting.set_result(message)

    def _notice_end(self) -> None:
        with suppress(RuntimeError):  # the event loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(
                self._give_up, GenerationFailedError("the voice engine's process ended")
            )

    def _give_up(self, error: SpeechError) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._process.kill()  # it has nothing to put in order
        if not self._greeting.done():
            self._greeting.set_result(NotReady(BackendUnavailableError(_ENDED_LOADING)))
        for parts in self._answers.values():
            parts.put_nowait(error)
