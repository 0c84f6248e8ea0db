"""`python -m bot run` as a process of its own, on a simulated Discord.

`python -m tests.support.bot_process` runs the bot's own command line. Once the bot speaks for ada,
and grace waits, it prints `SPEAKING`. When the bot has closed, it prints as JSON what both were
told, and whether the bot has left the channel. It exits with the command line's code.

With `hanging` as an argument, there are also threads in which something waits for the network, as a
lookup of an address does: one that asyncio waits for, and one that only Python does.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from simcord.env import Env

from bot import __main__ as command_line
from bot.client import VoiceBot
from tests.support.discord_server import SETTLE_SECONDS, Answer, Server
from tests.support.marked_speech import MarkedBackend
from tests.support.tokens import Tokens
from tests.support.voice_guild import VoiceGuild, open_voice
from tests.support.voice_words import waits_for

if TYPE_CHECKING:
    from bot.settings import Settings

SPEAKING = "SPEAKING"
HANGING = "hanging"
HANGING_SECONDS = 20.0
SECONDS = 9.0

answers: list[Answer] = []
guilds: list[VoiceGuild] = []
outside = AsyncExitStack()  # never left


class SimulatedBot(VoiceBot):
    """The bot, which connects to a simulated Discord instead of the real one."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, speech=MarkedBackend())

    async def start(self, token: str, **_options: Any) -> None:
        """Connect, and have two members use `/say`. Discord outlives the bot."""
        assert token
        env = Env(self, shard_count=1, settle_timeout=SETTLE_SECONDS)
        await env.start()
        Tokens.watch(env)
        channel = env.create_guild("Test server").create_text_channel("voices")
        await self.tree.sync()
        server = Server(env, self, self._speech, channel)
        world = await outside.enter_async_context(open_voice(server))
        guilds.extend(world.guilds)
        ada, grace = [await guilds[0].speaker(name) for name in ("ada", "grace")]
        answers.append(await ada.says(1, SECONDS))
        await guilds[0].call.begins()
        answers.append(await grace.says(2, SECONDS))
        await waits_for(answers[1], "in the queue")
        print(SPEAKING, flush=True)  # noqa: T201 - the test waits for it
        if HANGING in sys.argv:
            ThreadPoolExecutor(1).submit(time.sleep, HANGING_SECONDS)
            await asyncio.to_thread(time.sleep, HANGING_SECONDS)
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Close as the bot does, and print what became of the members."""
        await super().close()
        (guild,) = guilds
        outcome = {"told": [answer.told for answer in answers], "has_left": guild.bot_is_in is None}
        print(json.dumps(outcome), flush=True)  # noqa: T201 - the test reads it


if __name__ == "__main__":
    with patch.object(command_line, "VoiceBot", SimulatedBot):
        sys.exit(command_line.main(["run"]))
