"""Nobody but its owner can see, use, rename or delete a voice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from backend.contract import VoicePrompt
from bot.errors import Reason
from bot.voices.records import Forgotten, VoicePage
from tests.support.refusals import refused
from tests.voices.people import ANA, BEN, MODEL, default_of, save, suggested

if TYPE_CHECKING:
    from bot.voices.library import VoiceLibrary


async def test_to_others_the_voice_does_not_exist(library: VoiceLibrary) -> None:
    voice = await save(library, ANA, "Grandma")

    assert await library.page(BEN) == VoicePage(voices=(), total=0)
    assert await default_of(library, BEN) is None
    assert await suggested(library, BEN, "grand") == []
    for attempt in (
        library.find(BEN, "Grandma"),
        library.rename(BEN, "Grandma", "Mine now"),
    ):
        with refused(Reason.NO_SUCH_VOICE):
            await attempt
    assert await library.find(ANA, "Grandma") == voice


async def test_a_voices_id_is_of_no_use_to_others(library: VoiceLibrary) -> None:
    voice = await save(library, ANA, "Grandma")
    claimed = replace(voice, owner_id=BEN)

    assert await library.prompt(claimed, MODEL) is None
    with refused(Reason.NO_SUCH_VOICE):
        await library.clip(claimed)
    assert not await library.store_prompt(claimed, VoicePrompt(b"another voice", MODEL))
    await library.defaults.touch(claimed)
    with refused(Reason.NO_SUCH_VOICE):
        await library.delete(claimed)

    assert await library.find(ANA, "Grandma") == voice, "it wasn't used either"
    assert await library.prompt(voice, MODEL) == VoicePrompt(b"codes and an embedding", MODEL)


async def test_two_people_may_use_the_same_name(library: VoiceLibrary) -> None:
    anas = await save(library, ANA, "Me")
    bens = await save(library, BEN, "ME")

    assert await library.find(ANA, "me") == anas
    assert await library.find(BEN, "me") == bens
    await library.delete(await library.find(BEN, "me"))
    assert await library.find(ANA, "me") == anas


async def test_forgetting_one_person_leaves_the_others(library: VoiceLibrary) -> None:
    await save(library, ANA, "one")
    await save(library, ANA, "two")
    bens = await save(library, BEN, "one")

    assert await library.forget(ANA) == Forgotten(voices=2, consents=2, words=0)

    assert (await library.page(ANA)).total == 0
    assert not await library.keeps_anything_about(ANA)
    assert await library.find(BEN, "one") == bens
    assert await library.forget(ANA) == Forgotten(voices=0, consents=0, words=0)
