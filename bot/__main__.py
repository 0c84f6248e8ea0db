"""The command line: `python -m bot run | api | sync | demo | admin | api-key | new-key | ...`."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import aiohttp
import discord
import structlog

from backend.contract import LANGUAGES, BackendUnavailableError
from bot import admin
from bot.api import commands as api_commands
from bot.audio.decode import check_decoder
from bot.client import VoiceBot
from bot.extras import install_command
from bot.log import configure_logging
from bot.platforms import PlatformError, check_platform
from bot.settings import Settings, SettingsError, can_others_read, load_settings
from bot.storage.database import open_database
from bot.storage.errors import DatabaseFailedError
from bot.storage.keys import new_key, read_keys
from bot.storage.location import DatabaseUnusableError
from bot.storage.rotation import rotate

log = structlog.get_logger(__name__)

SECONDS_TO_STOP = 7.5
"""How soon after SIGTERM the process ends, whatever hangs: a container is killed after ten seconds.

The bot itself closes within 6.9 s (`bot/client.py`). Python then waits for every thread. The lookup
of an address, for example, may keep one for much longer.
"""

SECONDS_TO_ERASE = 60.0
"""How long `rotate-keys` waits until nothing is left of what it replaced."""

USAGE_ERROR = 2
MAX_PORT = 65_534
"""The demo takes the next port as well."""

Command = Callable[[Settings, argparse.Namespace], Coroutine[Any, Any, int]]


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit code. Expected failures are one sentence, never a trace.

    After SIGTERM, the process ends within `SECONDS_TO_STOP`, also if this function has returned.
    """
    options = _parser().parse_args(arguments)
    command: Command = options.command
    cut_off = threading.Timer(SECONDS_TO_STOP, _cut_off)
    cut_off.daemon = True
    try:
        work = command(load_settings(), options)
        return asyncio.run(_until_terminated(work, on_signal=cut_off.start))
    except (
        PlatformError,
        SettingsError,
        DatabaseUnusableError,
        BackendUnavailableError,
    ) as error:
        return _fail(str(error))
    except discord.LoginFailure:
        return _fail(
            "Discord refused the token. Reset it in the Developer Portal (your application, Bot, "
            "Reset Token), put the new one into DISCORD_TOKEN, then start again."
        )
    except (aiohttp.ClientConnectionError, discord.GatewayNotFound):
        return _fail("Discord can't be reached. Check this machine's network, then start again.")
    except discord.HTTPException as error:
        return _fail(f"Discord answered with an error ({error.status}). Please try again later.")
    except KeyboardInterrupt:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bot", description="Timbre speaks in the voices its users give it."
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    run = commands.add_parser("run", help="run the bot on Discord")
    run.set_defaults(command=_run)
    run.add_argument("--api", action="store_true", help="serve the HTTP API as well")
    api_commands.add_address(run)

    api = commands.add_parser("api", help="serve the HTTP API, without Discord")
    api.set_defaults(command=_api)
    api_commands.add_address(api)
    api_commands.add_key_commands(commands)

    sync = commands.add_parser("sync", help="publish the slash commands to Discord")
    sync.add_argument("--guild", type=int, metavar="ID", help="only in this server; shows at once")
    sync.add_argument(
        "--remove", action="store_true", help="remove the commands again, there or everywhere"
    )
    sync.set_defaults(command=_sync)

    demo = commands.add_parser("demo", help="try the bot in a browser, on a simulated Discord")
    demo.add_argument(
        "--port",
        type=_port,
        default=8765,
        help="its port; the listen page takes the next (default: %(default)s)",
    )
    demo.add_argument(
        "--once",
        nargs=2,
        metavar=("RECORDING", "TEXT"),
        help="without a page: clone this recording, say this text, and exit; by this you confirm "
        "that you have the speaker's permission",
    )
    demo.add_argument(
        "--out",
        type=Path,
        default=Path("speech.ogg"),
        help="where --once writes the speech, as Ogg/Opus (default: %(default)s)",
    )
    demo.add_argument(
        "--language",
        choices=LANGUAGES,
        help="what --once speaks in (default: it looks for it in the words)",
    )
    demo.set_defaults(command=_demo)

    admin.add_commands(commands)
    making = commands.add_parser("new-key", help="print a new key for STORAGE_KEYS")
    making.set_defaults(command=_new_key)

    rotate = commands.add_parser(
        "rotate-keys", help="write what is stored again with the first key of STORAGE_KEYS"
    )
    rotate.set_defaults(command=_rotate_keys)
    return parser


async def _run(settings: Settings, options: argparse.Namespace) -> int:
    _start_log(settings)
    check_platform()
    token = settings.require_token()
    settings.require_database()
    if options.api:
        api_commands.check_packages()
    async with VoiceBot(settings) as bot, AsyncExitStack() as beside:
        await bot.open_studio()  # before the login: what fails here is the operator's to mend
        await check_decoder()  # only logs: speaking works without it
        if options.api:
            await beside.enter_async_context(api_commands.api_beside(bot.services, options))
        await bot.start(token)
    return 0


async def _api(settings: Settings, options: argparse.Namespace) -> int:
    _start_log(settings)
    check_platform()
    return await api_commands.run_api(settings, options)


async def _sync(settings: Settings, options: argparse.Namespace) -> int:
    _start_log(settings)
    check_platform()
    token = settings.require_token()
    try:
        async with VoiceBot(settings) as bot:
            names = await bot.publish_commands(token, guild_id=options.guild, remove=options.remove)
    except discord.Forbidden:
        return _fail(
            "Discord didn't accept the commands for that server. Check its ID, and invite the bot "
            "with the README's link, which gives it the scope applications.commands."
        )
    where = f"server {options.guild}" if options.guild else "every server"
    done = f"Published {', '.join(names)} to" if names else "Removed the commands from"
    print(f"{done} {where}.")  # noqa: T201 - the answer
    return 0


async def _demo(settings: Settings, options: argparse.Namespace) -> int:
    check_platform()
    try:
        from bot.demo import once, page  # noqa: PLC0415 - the demo is an optional extra
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"The demo needs more packages ({error.name} is missing). "
            f"Install them: {install_command('demo')}"
        ) from None
    _start_log(settings.model_copy(update={"log_level": "WARNING"}))
    await check_decoder()
    if options.once:
        recording, text = options.once
        return await once.clone_once(
            settings, Path(recording), text, options.out, language=options.language
        )
    return await page.serve(settings, port=options.port)


async def _new_key(_settings: Settings, _options: argparse.Namespace) -> int:
    print(new_key())  # noqa: T201 - the answer
    return 0


async def _rotate_keys(settings: Settings, _options: argparse.Namespace) -> int:
    _start_log(settings)
    keys = read_keys(settings.storage_keys.get_secret_value())
    database = await open_database(settings.database_url, keys)
    try:
        rewritten = await rotate(database, keys)
        how = "with the first key of STORAGE_KEYS" if keys.encrypts else "without encryption"
        print(f"Everything is stored {how} now. Written again: {rewritten}.")  # noqa: T201 - the answer
        with suppress(TimeoutError):
            async with asyncio.timeout(SECONDS_TO_ERASE):
                await database.remains_erased(at_once=True)
            return 0
    except DatabaseFailedError as error:
        return _fail(f"The database can't be used right now ({error.why}). Please try again.")
    finally:
        await database.close()
    print(  # noqa: T201 - the answer
        "Another program is reading the database, so earlier copies are still in its files. "
        "The bot removes them while it runs."
    )
    return 0


def _start_log(settings: Settings) -> None:
    configure_logging(settings)
    if can_others_read():
        log.warning(
            "other users of this machine can read .env, which holds secrets", fix="chmod 600 .env"
        )


def _port(typed: str) -> int:
    port = int(typed)
    if not 0 <= port <= MAX_PORT:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to {MAX_PORT}")
    return port


async def _until_terminated(
    work: Coroutine[Any, Any, int], *, on_signal: Callable[[], None]
) -> int:
    """Run a command to its end, or until SIGTERM cancels it, as Ctrl-C does anyway.

    Args:
        work: The command.
        on_signal: Called at the first SIGTERM.
    """
    task = asyncio.create_task(work)
    terminated = asyncio.Event()

    def terminate() -> None:
        if not terminated.is_set():
            on_signal()
        terminated.set()
        task.cancel()

    with suppress(NotImplementedError, RuntimeError):  # on Windows, and outside of the main thread
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
    try:
        return await task
    except asyncio.CancelledError:
        if not terminated.is_set():
            raise
        return 0


def _cut_off() -> None:
    """End the process at once. The bot has closed by now, or hangs."""
    log.warning("cut off at the end", part="threads")
    os._exit(0)


def _fail(sentence: str) -> int:
    print(sentence, file=sys.stderr)  # noqa: T201 - the person at the terminal reads this
    return USAGE_ERROR


if __name__ == "__main__":
    sys.exit(main())
