"""`python -m bot admin`: what whoever runs the bot decides at a terminal, beside running bots.

Everything goes through the database: running bots see a block or a deleted voice within seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from bot.errors import Reason, Refusal
from bot.guilds.access import OperatorRules
from bot.guilds.dismissal import dismiss
from bot.guilds.policy import Policy
from bot.guilds.records import EVERYWHERE, AuditAction, FreezeKind
from bot.interface.wording.sentences import explain
from bot.log import configure_logging
from bot.storage.database import open_database
from bot.storage.keys import read_keys
from bot.storage.location import check_exists
from bot.voices.library import VoiceLibrary

if TYPE_CHECKING:
    from bot.settings import Settings

SECONDS_TO_WRITE = 10.0
"""How long the end of a command waits for what is written later, such as the audit log."""

ENTRIES_PER_READ = 500
MAX_DISCORD_ID = 2**63 - 1
MAX_VOICE_ID = 2**31 - 1

DONE, NOTHING_TO_DO = 0, 1


@dataclass(frozen=True, slots=True)
class Desk:
    """What the commands work with.

    Attributes:
        policy: Blocks, frozen voices, reports and the audit log.
        library: The saved voices.
    """

    policy: Policy
    library: VoiceLibrary


Action: TypeAlias = Callable[[Desk, argparse.Namespace], Awaitable[int]]
"""A command, which returns the exit code."""


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `admin` and its own commands to the command line."""
    admin = commands.add_parser("admin", help="moderate: block people, remove voices, read the log")
    actions = admin.add_subparsers(required=True, metavar="action")

    def add(name: str, action: Action, does: str) -> argparse.ArgumentParser:
        parser = actions.add_parser(name, help=does, description=f"{does.capitalize()}.")
        parser.set_defaults(command=_run, action=action)
        return parser

    block = add("block", _block, "block a person everywhere, or in one server")
    unblock = add("unblock", _unblock, "let a person use the bot again")
    for each in (block, unblock):
        each.add_argument("person", type=_discord_id, metavar="ID", help="the person's Discord id")
        each.add_argument("--server", type=_discord_id, metavar="ID", help="only in this server")
    purge = add("purge", _purge, "delete all voices and data of a person, for good")
    purge.add_argument("person", type=_discord_id, metavar="ID", help="the person's Discord id")
    remove = add("remove", _remove, "delete a voice everywhere, for good")
    remove.add_argument("voice", type=_voice_id, metavar="NUMBER", help="such as 12 for voice #12")
    restore = add("restore", _restore, "let a frozen voice be used again, not one that was deleted")
    restore.add_argument("voice", type=_voice_id, metavar="NUMBER", help="such as 12 for voice #12")
    restore.add_argument(
        "--server", type=_discord_id, metavar="ID", help="what this server decided instead"
    )
    export = add("export-log", _export_log, "print the audit log as JSON, one line for each entry")
    export.add_argument(
        "--since", type=_time, metavar="TIME", help="such as 2026-11-27 or 2026-11-27T18:30, in UTC"
    )
    export.add_argument("--server", type=_discord_id, metavar="ID", help="only of this server")
    add("reports", _reports, "list the reports that nobody has decided")
    dismissing = add("dismiss", _dismiss, "close a report; a voice that was frozen on it is free")
    dismissing.add_argument("report", type=_voice_id, metavar="NUMBER", help="the report's number")


async def _run(settings: Settings, options: argparse.Namespace) -> int:
    configure_logging(settings)
    await check_exists(settings.database_url)  # or an answer about an empty one would be believed
    keys = read_keys(settings.storage_keys.get_secret_value())
    database = await open_database(settings.database_url, keys)
    action: Action = options.action
    try:
        policy = Policy(database, OperatorRules(operators=settings.operators))
        done = await action(Desk(policy, VoiceLibrary(database)), options)
        sys.stdout.flush()
    except Refusal as refusal:
        _say(explain(refusal))
        return NOTHING_TO_DO
    except BrokenPipeError:
        # Whoever reads our output, such as `head`, has read enough. Python would write the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    else:
        return done
    finally:
        await database.close(within=SECONDS_TO_WRITE)


async def _block(desk: Desk, options: argparse.Namespace) -> int:
    where, place = _place(options)
    if desk.policy.is_operator(options.person):
        _say(f"{options.person} is in OPERATORS, so a block wouldn't hold. Take them out first.")
        return NOTHING_TO_DO
    if not await desk.policy.moderation.block(options.person, where, by=None):
        _say(f"{options.person} was blocked {place} already.")
        return NOTHING_TO_DO
    _note(desk, AuditAction.BLOCKED, options, owner_id=options.person)
    _say(f"Blocked {options.person} {place}. What they have running ends within seconds.")
    return DONE


async def _unblock(desk: Desk, options: argparse.Namespace) -> int:
    where, place = _place(options)
    if not await desk.policy.moderation.unblock(options.person, where):
        _say(f"{options.person} wasn't blocked {place}.")
        return NOTHING_TO_DO
    _note(desk, AuditAction.UNBLOCKED, options, owner_id=options.person)
    _say(f"{options.person} isn't blocked {place} any more.")
    return DONE


async def _purge(desk: Desk, options: argparse.Namespace) -> int:
    person = options.person
    is_known = await desk.library.keeps_anything_about(person)
    if not is_known and not await desk.policy.keeps_anything_about(person):
        _say(f"Nothing is kept about {person}.")
        return NOTHING_TO_DO
    await desk.policy.api_keys.forget(person)  # first, so that no request saves a voice after this
    forgotten = await desk.library.forget(person)
    await desk.policy.forget(person)
    _note(desk, AuditAction.FORGOT, options, details="purged")
    _say(
        f"Deleted everything about {person}: voices {forgotten.voices}, consent records "
        f"{forgotten.consents}, words of a dictionary {forgotten.words}. Only reports, blocks and "
        "what they used today stay. "
        f"To keep them from coming back, use: .venv/bin/python -m bot admin block {person}"
    )
    return DONE


async def _remove(desk: Desk, options: argparse.Namespace) -> int:
    number = options.voice
    voice = (await desk.library.about([number])).get(number)
    if voice is None:
        _say(f"There's no voice #{number}.")
        return NOTHING_TO_DO
    # Before it is deleted, so that running bots tell its owner why.
    await desk.policy.moderation.freeze(
        number, voice.owner_id, EVERYWHERE, FreezeKind.REMOVED, by=None
    )
    try:
        await desk.library.delete(voice)
    except Refusal as refusal:
        if refusal.reason is not Reason.NO_SUCH_VOICE:  # its owner may just have deleted it
            raise
    _note(desk, AuditAction.REMOVED, options, voice_id=number, owner_id=voice.owner_id)
    _say(f"Deleted voice #{number} of {voice.owner_id}, with its recording.")
    return DONE


async def _restore(desk: Desk, options: argparse.Namespace) -> int:
    number, (where, place) = options.voice, _place(options)
    lifted = await desk.policy.moderation.lift(number, where)
    if lifted is None:
        _say(f"Voice #{number} isn't frozen {place}.")
        return NOTHING_TO_DO
    _note(desk, AuditAction.UNFROZEN, options, voice_id=number, owner_id=lifted.owner_id)
    is_there = number in await desk.library.about([number])
    _say(
        f"Voice #{number} isn't frozen {place} any more."
        if is_there
        else f"Voice #{number} was deleted, so nobody can use it again."
    )
    return DONE


async def _export_log(desk: Desk, options: argparse.Namespace) -> int:
    last_id = 0
    while entries := await desk.policy.audit.after(
        last_id, guild_id=options.server, since=options.since, limit=ENTRIES_PER_READ
    ):
        for entry in entries:
            _say(json.dumps({**asdict(entry), "at": entry.at.isoformat()}))
        last_id = entries[-1].id
    return DONE


async def _reports(desk: Desk, _options: argparse.Namespace) -> int:
    reports = await desk.policy.reports.open()
    if not reports:
        _say("No report is open.")
        return DONE
    for report in reports:
        place = f"{report.guild_id or '@me'}/{report.channel_id}"
        message = f"/{report.message_id}" if report.message_id is not None else ""
        voice = "without a name" if report.voice_id is None else f"#{report.voice_id}"
        _say(
            f"{report.id}: {report.kind} by {report.reporter_id} at {report.at:%Y-%m-%d %H:%M} UTC,"
            f" voice {voice} of {report.owner_id}, https://discord.com/channels/{place}{message}"
        )
    return DONE


async def _dismiss(desk: Desk, options: argparse.Namespace) -> int:
    report = await dismiss(desk.policy, options.report, by=None, where=EVERYWHERE)
    _say(
        f"{str(report.kind).capitalize()} {report.id} is dismissed. "
        "If its voice was frozen for that alone, it can be used again."
    )
    return DONE


def _note(desk: Desk, action: AuditAction, options: argparse.Namespace, **about: Any) -> None:
    """Note in the audit log what was decided here; of a server if it was for that one."""
    server = getattr(options, "server", None)
    desk.policy.audit.note(action, actor_id=None, guild_id=server, **about)


def _place(options: argparse.Namespace) -> tuple[int, str]:
    """Where a decision holds, and how that is said."""
    if options.server is None:
        return EVERYWHERE, "everywhere"
    return options.server, f"in server {options.server}"


def _discord_id(typed: str) -> int:
    return _number(typed, MAX_DISCORD_ID, "a Discord id is a long number")


def _voice_id(typed: str) -> int:
    return _number(typed.removeprefix("#"), MAX_VOICE_ID, "it's a number, such as 12")


def _number(typed: str, largest: int, what: str) -> int:
    if not (typed.isascii() and typed.isdecimal() and 0 < int(typed[:20]) <= largest):
        raise argparse.ArgumentTypeError(what)
    return int(typed)


def _time(typed: str) -> datetime:
    try:
        at = datetime.fromisoformat(typed)
    except ValueError:
        raise argparse.ArgumentTypeError("a time is like 2026-11-27 or 2026-11-27T18:30") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _say(line: str) -> None:
    print(line)  # noqa: T201 - the person at the terminal reads this
