"""What the demo says in the terminal, and the bot's messages there: without Discord's markup."""

from __future__ import annotations

import asyncio
import re
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bot.demo.world import backend_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bot.settings import Settings

_TOKENS = re.compile(
    r"\\(?P<literal>[^\w\s]|_)"  # any punctuation behind a backslash is meant literally
    r"|</(?P<command>[^:>\n]+):\d+>"
    r"|<t:(?P<moment>-?\d{1,12})(?::[tTdDfFR])?>"
    r"|<@(?P<person>\d+)>"
    r"|^-# "  # small print
    r"|\*\*|`"
    r"|\u200b"  # behind an "@", so that nobody is mentioned
    r"|[\u2068\u2069]",  # around what runs from right to left
    re.MULTILINE,
)


STARTS_CLONING = """\
Timbre demo, with the voice engine on this machine. It takes about a minute to start, and longer the
first time, when its weights are downloaded."""


YOU = "you"

STOPPED = "\nThe demo was stopped."
STOPPED_CLONING = STOPPED + " What was downloaded is kept, and the next start goes on from there."


@contextmanager
def starting(settings: Settings) -> Iterator[None]:
    """Say that the start takes a while, before it does; and if Ctrl-C ends it, what is kept."""
    clones = backend_of(settings) == "local"
    if clones:
        print(STARTS_CLONING, flush=True)  # noqa: T201 - the terminal is the interface here
    try:
        yield
    except asyncio.CancelledError:
        print(STOPPED_CLONING if clones else STOPPED, flush=True)  # noqa: T201 - as above
        raise


def plain(message: str) -> str:
    """The words of a message: links as the commands they lead to, moments in this zone's time.

    Whoever is mentioned is the only person who uses the bot there.
    """
    return _TOKENS.sub(_plain_token, message)


def _plain_token(token: re.Match[str]) -> str:
    if token["literal"] is not None:
        return token["literal"]
    if token["command"] is not None:
        return f"/{token['command']}"
    if token["person"] is not None:
        return YOU
    if token["moment"] is not None:
        return _moment(int(token["moment"]))
    return ""


def _moment(timestamp: int) -> str:
    try:
        return f"{datetime.fromtimestamp(timestamp, UTC).astimezone():%Y-%m-%d %H:%M}"
    except (OverflowError, ValueError, OSError):
        return "?"
