"""Which servers the bot is for, and whether it takes commands in direct messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from tests.support.discord_server import Answer

if TYPE_CHECKING:
    from tests.support.discord_server import Member, Server


async def test_it_leaves_servers_that_are_not_allowed(server: Server) -> None:
    ours, theirs = server.guild, server.env.create_guild("Theirs")
    with capture_logs() as logs:
        await server.restarts(allowed_servers=frozenset({ours.id}))
        assert [guild.id for guild in server.bot.guilds] == [ours.id]
        invited = server.env.create_guild("Another")
        await server.env.settle()
    assert [guild.id for guild in server.bot.guilds] == [ours.id]
    left = [line["guild"] for line in logs if line["event"].startswith("left a server that")]
    assert left == [theirs.id, invited.id]


async def test_it_stays_everywhere_by_default(server: Server) -> None:
    server.env.create_guild("Theirs")
    await server.restarts()
    assert len(server.bot.guilds) == 2


async def test_a_server_that_could_not_be_left_is_refused_kindly(
    server: Server, ada: Member
) -> None:
    await ada.saves_voice()
    server.breaks("DELETE", "/users/@me/guilds/*", status=500, times=99)
    await server.restarts(allowed_servers=frozenset({1}))
    for command, options in (("say", {"text": "Hello."}), ("join", {})):
        answer = await ada.types(command, **options)
        assert answer.told.startswith("I'm not meant to be used in this server. Please ask whoever")
        assert not answer.posted
    assert "ada" in (await ada.types("voice list")).told


async def test_direct_messages_can_be_switched_off(server: Server, ada: Member) -> None:
    await ada.saves_voice()
    user = ada.actor.user
    assert Answer(await user.slash("say", text="Hello.")).posted
    await server.restarts(direct_messages=False)
    answer = Answer(await user.slash("say", text="Hello."))
    assert answer.told.startswith("I don't do that in direct messages. Please use it in a server")
    assert "ada" in Answer(await user.slash("voice list")).told
    assert (await ada.types("say", text="Hello.")).posted


async def test_operators_still_reach_it(server: Server, ada: Member) -> None:
    await ada.saves_voice()
    await server.restarts(direct_messages=False, operators=frozenset({ada.actor.id}))
    assert Answer(await ada.actor.user.slash("say", text="Hello.")).posted
