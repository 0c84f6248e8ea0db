"""`python -m bot demo`: the simulated Discord as a page in the browser."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import TYPE_CHECKING

from bot.demo.world import open_world

if TYPE_CHECKING:
    from bot.settings import Settings

DATABASE = "data/demo.db"

WELCOME = """
Timbre demo: the real bot on a simulated Discord. Nothing leaves this machine.

  Open  {url}

  1. Type /clone, attach a recording of 3 to 30 seconds of someone speaking, write what the
     voice should say, and give it a name.
  2. Play the answer. It is a preview: a stock English voice adapted toward the recording.
  3. Type /say to speak with the voice again. /help shows the rest.

Voices are kept in {database} and are there again next time. Ctrl-C ends the demo.
"""


async def serve(settings: Settings, *, port: int) -> int:
    """Show the page until Ctrl-C, or until the session is ended in the page."""
    url = f"sqlite:///{DATABASE}"
    stopped = _stop_signal()
    async with open_world(settings.model_copy(update={"database_url": url})) as world:
        preview = world.env.preview(
            world.channel,
            viewers=[world.you, world.friend],
            layout="channel",
            port=_free_port(port),
        )
        async with preview:
            print(WELCOME.format(url=preview.url, database=DATABASE), flush=True)  # noqa: T201
            ends = [asyncio.create_task(stopped.wait()), asyncio.create_task(preview.wait_closed())]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()
    print("The demo has ended. Your voices are kept.")  # noqa: T201 - the terminal's last word
    return 0


def _stop_signal() -> asyncio.Event:
    """An event that Ctrl-C or a polite kill sets."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stopped.set)
        except NotImplementedError:  # Windows: Ctrl-C raises KeyboardInterrupt instead
            break
    return stopped


def _free_port(wanted: int) -> int:
    """Return the wanted port of the loopback address if it is free, else another one."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on the loopback address")
