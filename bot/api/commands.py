"""The commands `api` and `api-key`, which need the API's packages only where they serve it."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from bot.audio.decode import check_decoder
from bot.extras import install_command
from bot.guilds.api_keys import MAX_NAME_CHARACTERS
from bot.guilds.policy import Policy
from bot.services import open_services
from bot.settings import MAX_ID, SettingsError
from bot.storage.database import open_database
from bot.storage.errors import DatabaseFailedError
from bot.storage.keys import read_keys
from bot.storage.location import check_exists

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from bot.guilds.api_keys import ApiKeys
    from bot.services import Services
    from bot.settings import Settings

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8788
MAX_PORT = 65_535
MAX_KEY_ID = 2**31 - 1
SECONDS_TO_CLOSE = 2.5

DONE, NOTHING_TO_DO = 0, 1

log = structlog.get_logger(__name__)


def add_address(parser: argparse.ArgumentParser) -> None:
    """Add where the API listens to a command's options."""
    parser.add_argument(
        "--host",
        default=DEFAULT_HOST,
        help="where the API listens; other machines reach it on 0.0.0.0 (default: %(default)s)",
    )
    parser.add_argument(
        "--port", type=_port, default=DEFAULT_PORT, help="the API's port (default: %(default)s)"
    )


def add_key_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `api-key` and its own commands to the command line."""
    keys = commands.add_parser("api-key", help="make, list and revoke keys for the API")
    actions = keys.add_subparsers(required=True, metavar="action")

    create = actions.add_parser("create", help="make a key, and show it once")
    create.add_argument(
        "--for",
        dest="person",
        type=_discord_id,
        required=True,
        metavar="ID",
        help="the Discord id of the person that it stands for",
    )
    create.add_argument("--name", type=_name, default="", help="what it is for, to tell them apart")
    create.set_defaults(command=_create)

    listing = actions.add_parser("list", help="list the keys, without the keys themselves")
    listing.add_argument(
        "--for", dest="person", type=_discord_id, metavar="ID", help="only this person's"
    )
    listing.set_defaults(command=_list)

    revoke = actions.add_parser("revoke", help="end a key, at once")
    revoke.add_argument("key", type=_key_id, metavar="NUMBER", help="its number in the list")
    revoke.set_defaults(command=_revoke)


async def run_api(settings: Settings, options: argparse.Namespace) -> int:
    """Serve the API alone, until the process is told to stop."""
    check_packages()
    from bot.api.server import listen  # noqa: PLC0415 - an optional extra

    await check_decoder()  # only logs: speaking with saved voices works without it
    with listen(options.host, options.port) as listening:
        services = await open_services(settings)
        try:
            from bot.api.app import create_app  # noqa: PLC0415 - as above
            from bot.api.service import open_context, serve  # noqa: PLC0415 - as above

            context = await open_context(services)
            await serve(context, create_app(context), listening)
        finally:
            await _close(services)
    return DONE


@asynccontextmanager
async def api_beside(services: Services, options: argparse.Namespace) -> AsyncIterator[None]:
    """Serve the API for as long as the block runs, over the services that the bot has opened."""
    from bot.api.app import create_app  # noqa: PLC0415 - an optional extra
    from bot.api.server import listen  # noqa: PLC0415 - as above
    from bot.api.service import open_context, serve  # noqa: PLC0415 - as above

    context = await open_context(services)
    with listen(options.host, options.port) as listening:
        serving = asyncio.create_task(serve(context, create_app(context), listening))
        serving.add_done_callback(_log_failure)
        try:
            yield
        finally:
            serving.cancel()
            await asyncio.wait([serving])


def check_packages() -> None:
    """Raise `SettingsError` if the API's packages are not installed."""
    try:
        import fastapi  # noqa: F401, PLC0415 - an optional extra
        import python_multipart  # noqa: F401, PLC0415 - as above
        import uvicorn  # noqa: F401, PLC0415 - as above
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"The API needs more packages ({error.name} is missing). "
            f"Install them: {install_command('api')}"
        ) from None


async def _close(services: Services) -> None:
    closing = asyncio.gather(
        services.speech.close(), services.library.close(), return_exceptions=True
    )
    try:
        async with asyncio.timeout(SECONDS_TO_CLOSE):
            results = await closing
    except TimeoutError:
        log.warning("cut off at the end", part="API")
        return
    for error in results:
        if isinstance(error, BaseException):
            log.error("not closed in order", exc_info=error)


def _log_failure(serving: asyncio.Task[None]) -> None:
    if not serving.cancelled() and (error := serving.exception()) is not None:
        log.error("the API has failed; the bot goes on without it", exc_info=error)


async def _create(settings: Settings, options: argparse.Namespace) -> int:
    async def create(keys: ApiKeys) -> int:
        key, stored = await keys.create(options.person, options.name)
        _say(f"Key {stored.id} for {stored.user_id}. It's shown only now, so keep it safe:")
        _say(key)
        return DONE

    return await _with_keys(settings, create)


async def _list(settings: Settings, options: argparse.Namespace) -> int:
    async def show(keys: ApiKeys) -> int:
        found = await keys.all(options.person)
        if not found:
            _say("There's no key. Make one with: .venv/bin/python -m bot api-key create --for ID")
        for key in found:
            used = f"{key.last_used_at:%Y-%m-%d %H:%M} UTC" if key.last_used_at else "never"
            name = f" “{key.name}”" if key.name else ""
            made = f"{key.created_at:%Y-%m-%d}"
            _say(f"{key.id}:{name} for {key.user_id}, made {made}, last used: {used}")
        return DONE

    if settings.has_database:
        await check_exists(settings.database_url)
    return await _with_keys(settings, show)


async def _revoke(settings: Settings, options: argparse.Namespace) -> int:
    async def revoke(keys: ApiKeys) -> int:
        revoked = await keys.revoke(options.key)
        if revoked is None:
            listing = ".venv/bin/python -m bot api-key list"
            _say(f"There's no key {options.key}. List them with: {listing}")
            return NOTHING_TO_DO
        _say(f"Revoked key {revoked.id} of {revoked.user_id}. It works nowhere any more.")
        return DONE

    if settings.has_database:
        await check_exists(settings.database_url)
    return await _with_keys(settings, revoke)


async def _with_keys(settings: Settings, work: Callable[[ApiKeys], Awaitable[int]]) -> int:
    if not settings.has_database:
        raise SettingsError(
            "There's no database to keep keys in (DATABASE_URL=none). "
            "Write them into API_KEYS instead, as key:id."
        )
    database = await open_database(
        settings.database_url, read_keys(settings.storage_keys.get_secret_value())
    )
    try:
        return await work(Policy(database).api_keys)
    except DatabaseFailedError as error:
        raise SettingsError(
            f"The database can't be used right now ({error.why}). Please try again."
        ) from error
    finally:
        await database.close()


def _discord_id(typed: str) -> int:
    return _number(typed, MAX_ID, "a Discord id is a long number")


def _key_id(typed: str) -> int:
    return _number(typed, MAX_KEY_ID, "it's a number, such as 3")


def _port(typed: str) -> int:
    if not (typed.isascii() and typed.isdecimal() and int(typed[:9]) <= MAX_PORT):
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to {MAX_PORT}")
    return int(typed)


def _name(typed: str) -> str:
    if len(typed) > MAX_NAME_CHARACTERS or not typed.isprintable():
        raise argparse.ArgumentTypeError(f"a name has at most {MAX_NAME_CHARACTERS} characters")
    return typed


def _number(typed: str, largest: int, what: str) -> int:
    if not (typed.isascii() and typed.isdecimal() and 0 < int(typed[:20]) <= largest):
        raise argparse.ArgumentTypeError(what)
    return int(typed)


def _say(line: str) -> None:
    print(line)  # noqa: T201 - the person at the terminal reads this
