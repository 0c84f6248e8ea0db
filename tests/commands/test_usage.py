"""`/usage` as people, admins and operators see it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from bot.client import VoiceBot

if TYPE_CHECKING:
    from tests.support.discord_server import Answer, Member, Server

TEXT = "This sentence has no more and no less than sixty characters."


def shown(answer: Answer) -> dict[str, str]:
    """The fields of the card."""
    assert answer.private is not None
    assert answer.private.ephemeral
    (card,) = answer.private.message.embeds
    assert "<t:" in (card.description or ""), "it says when everything starts again"
    return {str(field.name): str(field.value) for field in card.fields}


async def test_a_person_sees_their_own(server: Server, ada: Member, grace: Member) -> None:
    await ada.saves_voice()
    await ada.types("say", text=TEXT)
    await server.bot.policy.ledger.written()
    mine = {"You": "3 seconds of 10 minutes of speech · 1 request"}
    assert shown(await ada.types("usage")) == mine
    nothing = {"You": "0 seconds of 10 minutes of speech · 0 requests"}
    assert shown(await grace.types("usage")) == nothing
    assert shown(await ada.types("usage")) == mine, "to look costs nothing"


async def test_an_admin_sees_the_servers_too(server: Server, ada: Member) -> None:
    await ada.saves_voice()
    await ada.types("say", text=TEXT)
    await server.bot.policy.ledger.written()
    assert shown(await server.manager("admin").types("usage")) == {
        "You": "0 seconds of 10 minutes of speech · 0 requests",
        "This server": "3 seconds of 60 minutes of speech · 1 request",
    }


@pytest.mark.usefixtures("new_bot")
async def test_an_operator_sees_everybodys(server: Server, ada: Member) -> None:
    await server.restarts(operators=frozenset({ada.actor.id}))
    await ada.saves_voice()
    await ada.types("say", text=TEXT)
    await server.bot.policy.ledger.written()
    fields = shown(await ada.types("usage"))
    assert list(fields) == ["You", "This server", "Everybody", "Servers that used most"]
    assert fields["Everybody"] == "3 seconds of 180 minutes of speech · 1 request"
    assert fields["Servers that used most"] == "Test server · 3 seconds of speech · 1 request"


async def test_what_is_done_is_renewed_before_every_shard_is_there(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    async def on_connect(bot: VoiceBot) -> None:
        await asyncio.sleep(0)
        cog: Any = bot.get_cog("Usage")
        seen.append((cog._renew.is_running(), bot.is_ready()))

    monkeypatch.setattr(VoiceBot, "on_connect", on_connect, raising=False)
    await server.restarts()
    assert seen == [(True, False)]
