"""`python -m bot demo --once`: the main job from a terminal, with no browser."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from typing import TYPE_CHECKING

from bot.demo.world import open_world
from bot.settings import SettingsError
from bot.text import MAX_TEXT_CHARACTERS

if TYPE_CHECKING:
    from pathlib import Path

    from simcord.results import InteractionResult, ResponseMessage

    from bot.demo.world import World
    from bot.settings import Settings

CONSENT_BUTTON = "I confirm"
SUFFIXES = {".ogg", ".oga", ".opus"}
"""How the name of an Ogg/Opus file may end."""


async def clone_once(settings: Settings, recording: Path, text: str, out: Path) -> int:
    """Run `/clone` as a member would, confirm the consent, and write the Ogg/Opus to `out`.

    Prints every message that the member sees. The voice is not kept. Returns 0 only if speech was
    posted.
    """
    if out.suffix not in SUFFIXES:
        raise SettingsError(f"{out} would hold Ogg/Opus. Name a file that ends in .ogg.")
    if not await asyncio.to_thread(out.parent.is_dir):
        raise SettingsError(f"The folder of {out} doesn't exist. Make it, or name another file.")
    if not 1 <= len(text) <= MAX_TEXT_CHARACTERS:
        raise SettingsError(
            f"Write what the voice should say, in at most {MAX_TEXT_CHARACTERS:,} characters."
        )
    try:
        upload = await asyncio.to_thread(recording.read_bytes)
    except OSError as error:
        raise SettingsError(f"{recording} can't be read: {error.strerror}.") from None
    with tempfile.TemporaryDirectory(prefix="timbre-") as folder:
        database = f"sqlite:///{folder}/once.db"
        async with open_world(settings.model_copy(update={"database_url": database})) as world:
            speech = await _clone(world, recording.name, upload, text)
    if not speech:
        return 1
    await asyncio.to_thread(out.write_bytes, speech)
    _say(f"Wrote {out} ({len(speech):,} bytes).")
    return 0


async def _clone(world: World, name: str, upload: bytes, text: str) -> bytes:
    """Return the first file that was posted, or nothing."""
    options = {"audio": (name, upload), "text": text}
    result = await world.you.slash(world.channel, "clone", **options)
    question = result.response
    if question is not None and question.components:
        _say(f"Before someone's first /clone they're asked this, and click “{CONSENT_BUTTON}”:\n")
        _say(f"{question.content}\n")
        result = await world.you.click(question, label=CONSENT_BUTTON)
    speech = b""
    for message in _messages(result):
        _say(message.content)
        for attachment in message.attachments:
            speech = speech or await attachment.read()
    return speech


def _messages(result: InteractionResult) -> list[ResponseMessage]:
    return [message for message in (*result.followups, result.response) if message is not None]


def _say(words: str) -> None:
    print(words, file=sys.stdout, flush=True)  # noqa: T201 - the terminal is the interface here
