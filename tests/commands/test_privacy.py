"""`/privacy` as people use it, and `/forget`, which is the same as `/privacy delete`."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from bot.errors import Reason
from bot.export import EXPORTED
from bot.guilds.records import EVERYWHERE
from bot.interface.wording.sentences import REFUSALS
from bot.storage.database import open_database
from bot.storage.personal import PersonalData
from tests.support.discord_server import LOOKS_AT_A_BUSY_BOT, open_server
from tests.support.personal_rows import fill

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from bot.storage.database import Database
    from tests.support.discord_server import Answer, Member, Server
    from tests.support.scripted_backend import ScriptedBackend


DELETE = (
    "/privacy delete has to delete these rows as well, or `outlives_deletion` of the PersonalTable "
    "has to say why they stay: "
)


@pytest_asyncio.fixture(loop_scope="module")
async def database(server: Server) -> AsyncIterator[Database]:
    """The bot's database, opened by somebody else."""
    database = await open_database(server.bot.settings.database_url)
    yield database
    await database.close()


async def sent_to(answer: Answer) -> dict[str, bytes]:
    """The files that only the person sees, by their names."""
    assert answer.posted == [], "nobody else sees anything"
    files = [file for message in answer.private_followups for file in message.attachments]
    return {file.filename: await file.read() for file in files}


async def test_export_sends_everything_to_this_person_only(
    server: Server, ada: Member, grace: Member
) -> None:
    await ada.saves_voice(name="Ada's voice")
    await grace.saves_voice(name="Grace's voice")
    await ada.types("dictionary add", word="GG", spoken="good game")
    await ada.types("say", text="Hello there.")
    await server.bot.library.written()

    answer = await ada.types("privacy export")
    [(name, data)] = (await sent_to(answer)).items()
    assert name == "about-me.zip"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        told = json.loads(archive.read("about-me.json"))
        [voice] = told["voices"]
        assert archive.read(voice["clip_flac"]) == b"fLaC that nobody decodes here"
        readme = archive.read("README.txt").decode()
    assert (voice["name"], voice["transcript"]) == ("Ada's voice", "The quick brown fox.")
    assert [(word["word"], word["spoken"]) for word in told["dictionary"]] == [("GG", "good game")]
    assert [line["action"] for line in told["log"]] == ["spoke_file"]
    assert {"consents", "voice_prompts", "usage", "posts"} <= set(told)
    assert b"Grace" not in data
    assert b"Hello there" not in json.dumps(told).encode(), "texts aren't kept"
    assert "/privacy delete" in readme
    assert answer.told.startswith("That's everything I keep about you. Save the file")


async def test_export_says_at_once_if_nothing_is_kept(ada: Member, grace: Member) -> None:
    await grace.saves_voice()
    answer = await ada.types("privacy export")
    assert answer.told == REFUSALS[Reason.NOTHING_TO_EXPORT]
    assert await sent_to(answer) == {}


async def test_who_is_blocked_gets_it_too(server: Server, ada: Member) -> None:
    await server.bot.policy.moderation.block(ada.actor.id, EVERYWHERE, by=None)
    refused = await ada.types("say", text="Hello.")
    assert "`/privacy export`" in refused.told
    [data] = (await sent_to(await ada.types("privacy export"))).values()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        [block] = json.loads(archive.read("about-me.json"))["blocks"]
    assert (block["user_id"], block["guild_id"]) == ("you", "0")


async def test_much_comes_in_several_files(server: Server, ada: Member) -> None:
    for number in range(3):
        await ada.saves_voice(name=f"Voice {number}")
    with server.upload_limit(64 * 1024 + 2_000):
        answer = await ada.types("privacy export")
    files = await sent_to(answer)
    assert len(files) > 1
    assert list(files) == [f"about-me-{number}.zip" for number in range(1, len(files) + 1)]
    assert f"in {len(files)} files" in answer.told


async def test_if_discord_takes_no_file_the_person_is_told(server: Server, ada: Member) -> None:
    await ada.saves_voice()
    server.breaks("POST", "/webhooks/*", status=403)
    answer = await ada.types("privacy export")
    assert answer.told == REFUSALS[Reason.EXPORT_NOT_SENT]
    server.env.backend.faults.clear()
    assert len(await sent_to(await ada.types("privacy export"))) == 1


async def test_export_can_be_stopped(ada: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(*_arguments: Any) -> bytes:
        await asyncio.sleep(3_600)
        return b""

    await ada.saves_voice()
    with monkeypatch.context() as patched:
        patched.setattr(PersonalData, "content", hangs)
        message = await ada.begins("privacy export")
        assert message.content == "Packing file 1 of 2…"
        busy = await ada.begins("privacy export")
        assert busy.content == REFUSALS[Reason.EXPORT_UNDER_WAY]
        stopped = await ada.presses(message, "Stop")
        assert stopped.told == REFUSALS[Reason.EXPORT_STOPPED]
    assert len(await sent_to(await ada.types("privacy export"))) == 1, "it can be asked for again"


async def test_keys_of_the_api_end_before_the_voices(
    server: Server, ada: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, keys = server.bot.library, server.bot.policy.api_keys
    await keys.create(ada.actor.id)
    forget, had_keys = library.forget, []

    async def looks_first(user_id: int) -> Any:
        had_keys.append(await keys.any())
        return await forget(user_id)

    monkeypatch.setattr(library, "forget", looks_first)
    asked = await ada.types("privacy delete")
    await ada.presses(asked.private, "Delete")
    assert had_keys == [False], "else a request could save a voice after that"


@pytest.mark.parametrize("command", ["privacy delete", "forget"])
async def test_delete_says_at_once_if_nothing_is_kept(
    ada: Member, grace: Member, command: str
) -> None:
    await grace.saves_voice()
    answer = await ada.types(command)
    assert answer.told == REFUSALS[Reason.NOTHING_KEPT]
    assert answer.private is not None
    assert answer.private.components == []


@pytest.mark.usefixtures("new_bot")
@pytest.mark.parametrize("command", ["privacy delete", "forget"])
async def test_delete_leaves_only_what_is_said_to_stay(
    server: Server, database: Database, ada: Member, grace: Member, command: str
) -> None:
    person = ada.actor.id
    stored = await fill(database, person, grace.actor.id)
    asked = await ada.types(command)
    assert "Today's use stays until tomorrow, and blocks, reports" in asked.told
    await ada.presses(asked.private, "Delete")
    await server.bot.library.written()

    assert asked.told.startswith("Deleted 1 voice with its recording")
    data = PersonalData(database)
    left = {kept.title for kept in EXPORTED if await data.is_there([kept], person)}
    may_stay = {kept.title for kept in EXPORTED if kept.outlives_deletion is not None}
    assert left <= may_stay, f"{DELETE}{', '.join(left - may_stay)}"
    assert left < set(stored)


@pytest.mark.parametrize("step", ["on_prepare", "on_speak"])
async def test_no_voice_is_made_after_delete_that_was_begun_before(
    server: Server, ada: Member, backend: ScriptedBackend, recording: bytes, step: str
) -> None:
    has_begun = asyncio.Event()

    async def hangs(_what: object) -> None:
        has_begun.set()
        await asyncio.sleep(3_600)

    await ada.saves_voice(name="Old")
    asked = await ada.types("privacy delete")
    setattr(backend, step, hangs)
    with server.impatient():
        await ada.clones(recording, name="New")
    for _ in range(LOOKS_AT_A_BUSY_BOT):
        if not has_begun.is_set():
            with server.impatient():
                await server.env.settle()
    await ada.presses(asked.private, "Delete")
    assert asked.told.startswith("Deleted ")
    shown = [message.content for message in server.channel.history(viewer=ada.actor)]
    assert shown == [asked.told, REFUSALS[Reason.ALL_DELETED_MEANWHILE]]
    assert not await server.bot.library.keeps_anything_about(ada.actor.id)


async def test_export_is_empty_after_delete(ada: Member) -> None:
    await ada.saves_voice()
    asked = await ada.types("privacy delete")
    await ada.presses(asked.private, "Delete")
    assert asked.told == "Deleted 1 voice with its recording, and your consent record."
    assert (await ada.types("privacy export")).told == REFUSALS[Reason.NOTHING_TO_EXPORT]


async def test_help_links_the_operators_pages(tmp_path: Path, backend: ScriptedBackend) -> None:
    pages = {"privacy_url": "https://example.org/privacy", "terms_url": "https://example.org/terms"}
    async with open_server(tmp_path, backend, **pages) as server:
        answer = await server.member("ada").types("help")
    assert answer.private is not None
    [page] = answer.private.embeds
    shown = {field.name: field.value for field in page.fields}
    assert shown["The rules"] == (
        "[Privacy policy](https://example.org/privacy) · [Terms](https://example.org/terms)"
    )
    assert len(page) < 6_000, "Discord's limit"
