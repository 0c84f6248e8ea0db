"""Where commands work, and who may use them: as declared to Discord, and as the bot checks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.discord_server import Answer

if TYPE_CHECKING:
    from tests.support.discord_server import Member, Server

GUILD_INSTALL, IN_GUILDS, IN_DIRECT_MESSAGES = 0, 0, 1
OF_SERVERS = {"join", "leave", "moderation log", "queue", "settings", "skip", "stop", "warm"}


def published(server: Server) -> dict[str, dict[str, Any]]:
    sent = [each for each in server.env.http_requests if each.method == "PUT"]
    [commands] = [each.json for each in sent if each.path.endswith("/commands")]
    assert commands is not None
    return {command["name"]: command for command in commands}


def test_commands_are_for_servers_and_direct_messages(server: Server) -> None:
    of_servers = {name.partition(" ")[0] for name in OF_SERVERS}
    for name, command in published(server).items():
        everywhere = [IN_GUILDS] if name in of_servers else [IN_GUILDS, IN_DIRECT_MESSAGES]
        assert command["contexts"] == everywhere, name
        assert command["integration_types"] == [GUILD_INSTALL], name


@pytest.mark.usefixtures("careless_client")
@pytest.mark.parametrize("command", sorted(OF_SERVERS))
async def test_a_servers_command_is_refused_in_direct_messages(ada: Member, command: str) -> None:
    options = {"minutes": 30} if command == "warm" else {}
    answer = Answer(await ada.actor.user.slash(command, **options))
    assert answer.told == "That works only in a server. Use it in one that I'm in."


async def test_the_others_work_in_direct_messages(ada: Member) -> None:
    answer = Answer(await ada.actor.user.slash("voice list"))
    assert answer.told.startswith("You have no saved voice yet.")


@pytest.mark.usefixtures("careless_client")
async def test_settings_are_refused_to_whoever_does_not_manage_the_server(ada: Member) -> None:
    answer = await ada.types("settings")
    assert answer.told == (
        "Only members with the Manage Server permission can use that. Ask one of them."
    )
