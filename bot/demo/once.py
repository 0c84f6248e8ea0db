"""`python -m bot demo --once`: the main job from a terminal, with no browser."""

from __future__ import annotations

import asyncio
import io
import sys
from typing import TYPE_CHECKING, Any

from bot.audio.reference import MAX_UPLOAD_MEGABYTES
from bot.audio.temporary import private_folder
from bot.demo.terminal import plain, starting
from bot.demo.world import open_world
from bot.settings import SettingsError
from bot.text import MAX_TEXT_CHARACTERS
from bot.voices.consent import STATEMENTS, Permission

if TYPE_CHECKING:
    from pathlib import Path

    from simcord.results import InteractionResult, ResponseMessage

    from bot.demo.world import World
    from bot.settings import Settings

PERMISSION = Permission.GIVEN
"""What running it confirms. Who speaks in the recording may be anybody, also who runs it."""

SUFFIXES = (".ogg", ".oga", ".opus")
"""How the name of an Ogg/Opus file may end."""


async def clone_once(
    settings: Settings, recording: Path, text: str, out: Path, *, language: str | None = None
) -> int:
    """Run `/clone` as a member would, and write the Ogg/Opus to `out`.

    Whoever runs it confirms that they have the speaker's permission.

    Prints every message that the member sees. The voice is not kept. Returns 0 only if speech was
    posted. Raises `SettingsError` before the work if the arguments can't be used.
    """
    text = text.encode(errors="replace").decode()  # what isn't UTF-8 comes as half characters
    if not text.strip() or len(text) > MAX_TEXT_CHARACTERS:
        raise SettingsError(
            f"Write what the voice should say, in at most {MAX_TEXT_CHARACTERS:,} characters."
        )
    await asyncio.to_thread(_check_can_write, out)
    upload = await asyncio.to_thread(_read, recording)
    with starting(settings), private_folder() as folder:
        database = f"sqlite:///{folder}/once.db"
        async with open_world(settings.model_copy(update={"database_url": database})) as world:
            options = {"text": text} if language is None else {"text": text, "language": language}
            speech = await _clone(world, audio=(recording.name, upload), **options)
    if not speech:
        return 1
    try:
        await asyncio.to_thread(out.write_bytes, speech)
    except OSError as error:
        raise _unwritable(out, error) from None
    _say(f"Wrote {out} ({len(speech):,} bytes).")
    return 0


def _check_can_write(out: Path) -> None:
    """Raise `SettingsError` if speech can't be written there. Leaves everything as it was."""
    try:
        if out.is_dir():
            example = out / "speech.ogg"
            raise SettingsError(f"{out} is a folder. Name a file in it, such as {example}.")
        if out.suffix.lower() not in SUFFIXES:
            known = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
            raise SettingsError(
                f"--once writes Ogg/Opus. Name a file that ends in {known}, not {out}."
            )
        if not out.parent.is_dir():
            raise SettingsError(
                f"The folder of {out} doesn't exist. Make it, or name another file."
            )
        is_new = not out.exists()
        out.open("ab").close()
        if is_new:
            out.unlink()
    except OSError as error:
        raise _unwritable(out, error) from None


def _unwritable(out: Path, error: OSError) -> SettingsError:
    return SettingsError(f"{out} can't be written: {error.strerror}. Name another file.")


def _read(recording: Path) -> bytes:
    """Read a recording, or of one that is too large as much as shows that.

    The bot then refuses it as on Discord. Raises `SettingsError` if it can't be read.
    """
    try:
        with recording.open("rb") as file:
            return file.read(MAX_UPLOAD_MEGABYTES * 1024 * 1024 + 1)
    except OSError as error:
        raise SettingsError(f"{recording} can't be read: {error.strerror}.") from None


async def _clone(world: World, **options: Any) -> bytes:
    """Return the first file that was posted, or nothing."""
    _say("By running --once you confirm what one chooses as `permission` on Discord:")
    _say(f"“{STATEMENTS[PERMISSION.statement_version]}”\n")
    result = await world.you.slash(world.channel, "clone", permission=PERMISSION.value, **options)
    speech = b""
    for message in _messages(result):
        _say(message.content)
        for attachment in message.attachments:
            speech = speech or await attachment.read()
    return speech


def _messages(result: InteractionResult) -> list[ResponseMessage]:
    return [message for message in (*result.followups, result.response) if message is not None]


def _say(message: str) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal may lack the characters
    print(plain(message), flush=True)  # noqa: T201 - the terminal is the interface here
