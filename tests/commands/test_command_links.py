"""Commands in the bot's sentences are links, once Discord has told the bot their ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio
from structlog.testing import capture_logs

if TYPE_CHECKING:
    from tests.support.discord_server import Member, Server


@pytest_asyncio.fixture(loop_scope="module")
async def ids(server: Server) -> dict[str, int]:
    """The ids of the commands, which were published before the bot started again."""
    await server.restarts()
    return {command.name: command.id for command in await server.bot.tree.fetch_commands()}


async def test_an_answer_links_commands(ada: Member, ids: dict[str, int]) -> None:
    answer = await ada.types("say", text="Hello.")
    assert answer.told == (
        f"You have no saved voice yet. Make one with </clone:{ids['clone']}>: "
        "attach a recording and give it a `name`."
    )
    listed = await ada.types("voice list")
    assert listed.told == answer.told


async def test_a_refusal_of_a_form_links_commands(ada: Member, ids: dict[str, int]) -> None:
    answer = await ada.types("voice transcript", voice="Nobody")
    assert f"See yours with </voice list:{ids['voice']}>," in answer.told


async def test_cards_link_commands(ada: Member, ids: dict[str, int]) -> None:
    answer = await ada.types("help")
    assert answer.private is not None
    shown = {field.name: str(field.value) for field in answer.private.embeds[0].fields}
    assert shown["Get it or delete it"] == (
        f"</privacy export:{ids['privacy']}> sends you a copy of it all. "
        f"</voice delete:{ids['voice']}> deletes one voice. "
        f"</privacy delete:{ids['privacy']}>, or </forget:{ids['forget']}>, deletes your voices, "
        "words and consent, and takes you out of the log of what they said. Deleting can't be "
        "undone. What stays: blocks; for a while, reports and what you decided for a server; and "
        "today's use until tomorrow."
    )
    assert "`/" not in "".join(shown.values())


async def test_without_their_ids_commands_are_plain_text(server: Server, ada: Member) -> None:
    server.breaks("GET", "/applications/*/commands", status=403)
    with capture_logs() as logs:
        await server.restarts()
    assert "commands are not linked in sentences" in [entry["event"] for entry in logs]
    assert "Make one with `/clone`:" in (await ada.types("voice list")).told
