"""A process that saves and deletes voices without end, until it is killed.

`python -m tests.support.churning_bot URL OWNER [KEYS]` prints `ready`, and then `saved` or `erased`
with the voice's name, for each that the library says so of. Whatever it stores of a voice has that
name in it. Meanwhile it reads, and keeps a file in a temporary folder.
"""

from __future__ import annotations

import asyncio
import random
import sys
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

from backend.contract import VoicePrompt
from bot.audio.temporary import private_folder
from bot.errors import Refusal
from bot.storage.database import open_database
from bot.storage.keys import read_keys
from bot.voices.library import VoiceLibrary
from tests.voices.people import consent_of

if TYPE_CHECKING:
    from bot.voices.records import SavedVoice

MODEL = "model"
AT_ONCE = 2


def say(word: str, name: str) -> None:
    print(word, name, flush=True)  # noqa: T201 - for the test


async def saves(library: VoiceLibrary, owner: int, name: str) -> SavedVoice:
    sound = f"sound of {name} ".encode()
    voice = await library.save(
        owner,
        name,
        clip_flac=sound * random.randint(1, 10_000),  # noqa: S311 - not a secret
        clip_seconds=3.0,
        transcript=f"words of {name}",
        language=None,
        prompt=VoicePrompt(f"codes of {name} ".encode() * 500, MODEL),
        consent=consent_of(owner),
        guild_id=None,
    )
    library.defaults.touch(voice)
    return voice


async def churns(library: VoiceLibrary, owner: int, task: int) -> None:
    for number in count():
        name = f"voice-{owner}-{task}-{number}-"
        voice = await saves(library, owner, name)
        say("saved", name)
        if await library.delete(voice):
            say("erased", name)


async def reads(library: VoiceLibrary, owner: int) -> None:
    while True:
        for voice in (await library.page(owner)).voices:
            with suppress(Refusal):  # deleted meanwhile
                await library.clip(voice)
                await library.prompt(voice, MODEL)
        await asyncio.sleep(0.001)


async def main(url: str, owner: int, keys: str = "") -> None:
    library = VoiceLibrary(await open_database(url, read_keys(keys)))
    with private_folder() as folder:
        (folder / "speech.wav").write_bytes(b"sound of a voice")
        say("ready", "")
        work = (churns(library, owner, task) for task in range(AT_ONCE))
        await asyncio.gather(reads(library, owner), *work)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
