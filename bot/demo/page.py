"""`python -m bot demo`: the simulated Discord as a page in the browser, and one to listen."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from discord.app_commands import Command

from bot.demo.listen import listen_page
from bot.demo.media import play_all_formats
from bot.demo.terminal import starting
from bot.demo.world import FRIENDS_ID, YOUR_ID, open_world
from bot.interface.typed_text import as_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from simcord.preview import Preview

    from backend.contract import BackendInfo
    from bot.client import VoiceBot
    from bot.demo.world import World
    from bot.settings import Settings

DATABASE = "data/demo.db"

REFRESH_SECONDS = 0.2
"""How often the page is told the time, and what is new. It shows whole seconds."""

ANY_PORT = 0
"""Asks the system for a free port."""

IN_THE_TERMINAL = """
Timbre demo: the real bot on a simulated Discord. Nothing leaves this machine.

  Open    {url}
  Listen  {listen} to what is said in the voice channel
{ports}
  1. Type /clone, attach 3 to 30 seconds of someone speaking, choose the permission: whose
     voice it is. To keep the voice, give it a name.
  2. Play the answer. {voice}
  3. Type /say to hear the voice again: here as a file, and live on the listen page, if you
     press Listen there first. Its "voice" offers your voices after the first letter.
     /help shows the rest.

  The page does one thing at a time: until an answer is finished, no other command can be sent.

Your voices stay in {database} for next time. Ctrl-C ends the demo.
"""

PREVIEW = "It's a preview: a stock English voice adjusted toward the recording."
CLONE = """The voice is cloned, by {engine}.
     Without a GPU, speech may take longer to make than to hear."""

IN_THE_CHANNEL = """\
Welcome! This is a simulated Discord with the real bot in it. To try it:
1. Type `/clone` and attach 3 to 30 seconds of someone speaking. Under `permission`, choose whose \
voice it is: by that you also promise not to deceive or harm anyone with it. To keep the voice, \
give it a `name` under *+{clone} more*. A `text`, also under *+{clone} more*, is what it says first.
2. Send it, wait a moment, and press *Play*.
3. Type `/say` to hear the voice again. Its `voice` (under *+{say} more*) offers your voices after \
you type the first letter; without it, the latest one speaks. `/help` shows the rest.

You're in the voice channel Lounge, so `/say` also speaks there. To hear that live, open {listen} \
and press *Listen*; until then you're deafened. In this demo `/say` posts a file as well, unless \
you set `where`.

New answers may be below: scroll down, or press *jump to latest*. This page does one thing at a \
time and shows no progress, so nothing ever waits in its `/queue`. On Discord itself you see the \
progress, with a Stop button, and can use commands at any time.
"""


ABOUT_CLONES = """
The voice is cloned, by {engine}. Write exactly what's said in the recording as its `transcript` \
(under *+{clone} more*) if you can: that helps. Without a GPU, speech may take longer to make than \
to hear, so please wait for the answer.
"""


async def serve(settings: Settings, *, port: int) -> int:
    """Show the page until Ctrl-C, or until the session is ended in the page."""
    with starting(settings):
        return await _serve(settings, port=port)


async def _serve(settings: Settings, *, port: int) -> int:
    url = f"sqlite:///{DATABASE}"
    listen_port = port + 1 if port else ANY_PORT
    async with (
        open_world(settings.model_copy(update={"database_url": url})) as world,
        listen_page(world.broadcast, port=_free_port(listen_port)) as listen,
    ):
        await world.friend.send(world.channel, _welcome(world.bot, listen))
        preview = world.env.preview(
            world.channel,
            viewers=[world.you, world.friend],
            layout="channel",
            port=_free_port(port),
        )
        play_all_formats(preview)
        async with preview, _kept_current(preview, world):
            pages = {port: preview.url, listen_port: listen}
            welcome = IN_THE_TERMINAL.format(
                url=preview.url,
                listen=listen,
                ports=_about_ports(pages),
                voice=_about_voice(world.bot.studio.backend),
                database=DATABASE,
            )
            print(welcome, flush=True)  # noqa: T201 - the terminal is the interface here
            with suppress(asyncio.CancelledError):  # Ctrl-C
                await preview.wait_closed()
            kept = await _is_any_voice_kept(world)
            await world.bot.close()  # a command that goes on would hold up the end of the page
    last_words = "The demo has ended." + (" Your voices are kept." if kept else "")
    print(last_words)  # noqa: T201 - the terminal's last word
    return 0


def _welcome(bot: VoiceBot, listen: str) -> str:
    """The welcome in the channel, given the address of the listen page."""
    backend = bot.studio.backend
    words = IN_THE_CHANNEL + (ABOUT_CLONES if backend.clones else "")
    more = {name: _optional_options(bot, name) for name in ("clone", "say")}
    return words.format(listen=listen, engine=as_text(backend.name), **more)


def _optional_options(bot: VoiceBot, name: str) -> int:
    """How many options of a command the page hides behind "more" at first."""
    command = bot.tree.get_command(name)
    assert isinstance(command, Command)  # noqa: S101 - each cog has its own
    return sum(not option.required for option in command.parameters)


def _about_voice(backend: BackendInfo) -> str:
    """What the terminal says of the voice."""
    return CLONE.format(engine=backend.name) if backend.clones else PREVIEW


async def _is_any_voice_kept(world: World) -> bool:
    """Whether anybody in the page has a saved voice."""
    pages = [await world.bot.library.page(person, limit=1) for person in (YOUR_ID, FRIENDS_ID)]
    return any(page.total for page in pages)


@asynccontextmanager
async def _kept_current(preview: Preview, world: World) -> AsyncIterator[None]:
    """Let the page tell times from now, and show what the bot posts while a command goes on.

    By itself it counts "a minute ago" from its start, and shows answers when they are finished.
    """

    async def keep() -> None:
        shown = 0
        while True:
            preview.capture_time = datetime.now(UTC)
            requests = len(world.env.http_requests)
            if requests > shown and preview._active_action is not None:  # noqa: SLF001 - see above
                preview._publish_message_pages(reason="refresh")  # noqa: SLF001 - see above
            shown = requests
            await asyncio.sleep(REFRESH_SECONDS)

    keeper = asyncio.create_task(keep())
    try:
        yield
    finally:
        keeper.cancel()


def _about_ports(pages: dict[int, str]) -> str:
    """Say which ports were taken, if any. `pages` are addresses by the port that was wanted."""
    taken = [port for port, url in pages.items() if port not in {ANY_PORT, urlsplit(url).port}]
    if not taken:
        return ""
    ports = f"Port {taken[0]} is" if len(taken) == 1 else f"Ports {taken[0]} and {taken[1]} are"
    return f"\n  {ports} in use, perhaps by another demo. So this one has other addresses.\n"


def _free_port(wanted: int) -> int:
    """Return the wanted port of the loopback address if it is free, else another one."""
    for port in (wanted, ANY_PORT):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on the loopback address")
