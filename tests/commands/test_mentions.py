"""Mentions and custom emoji are said and shown as names, as far as the person may know them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
import pytest_asyncio
from simcord import interactions

from tests.support.public_words import text_beside

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.discord_server import Answer, Member, Server
    from tests.support.scripted_backend import ScriptedBackend

_ALWAYS_SENT: dict[str, dict[str, Any]] = {
    "users": {"discriminator": "0", "avatar": None},
    "members": {"roles": [], "joined_at": "2026-01-01T00:00:00+00:00", "flags": 0},
    "channels": {
        "parent_id": "1",
        "owner_id": "1",
        "member_count": 2,
        "message_count": 2,
        "permissions": "0",
        "thread_metadata": {
            "archived": False,
            "auto_archive_duration": 60,
            "archive_timestamp": "2026-01-01T00:00:00+00:00",
        },
    },
}
STRANGER = 123456789012345678
VIEW_CHANNEL, SPEAK = 1 << 10, 1 << 21


@pytest_asyncio.fixture(loop_scope="module")
async def ada(ada: Member) -> Member:
    await ada.saves_voice()
    return ada


@contextmanager
def discord_sends_along(**resolved: dict[int, dict[str, Any]]) -> Iterator[None]:
    """Let interactions come with what Discord knows of the mentions in their texts."""
    build = interactions.build_options
    sent = {
        kind: {
            str(snowflake): {**_ALWAYS_SENT[kind], "id": str(snowflake), **each}
            for snowflake, each in entries.items()
        }
        for kind, entries in resolved.items()
    }

    def with_mentions(*arguments: Any, **options: Any) -> Any:
        built, known = build(*arguments, **options)
        return built, {**known, **sent}

    with patch.object(interactions, "build_options", with_mentions):
        yield


def caption_of(answer: Answer) -> str:
    return text_beside(answer.posted[0].content)


async def test_a_member_is_said_and_shown_by_name(
    ada: Member, grace: Member, backend: ScriptedBackend
) -> None:
    answer = await ada.types("say", text=f"Hello <@{grace.actor.id}> and <@!{ada.actor.id}>.")
    assert backend.spoken == ["Hello grace and ada."]
    assert caption_of(answer) == "Hello @grace and @ada."


async def test_clone_shows_names_as_well(
    ada: Member, grace: Member, backend: ScriptedBackend, recording: bytes
) -> None:
    answer = await ada.clones(recording, text=f"Hello <@{grace.actor.id}> <:pepe:12>.", name="New")
    assert backend.spoken == ["Hello grace pepe."]
    assert caption_of(answer) == "Hello @grace :pepe:."


async def test_discord_knows_whom_a_command_mentions(
    server: Server, ada: Member, backend: ScriptedBackend
) -> None:
    users: dict[int, dict[str, Any]] = {
        1: {"username": "nick1", "global_name": "Nicky"},
        2: {"username": "glo2", "global_name": "Glo"},
        3: {"username": "plain3", "global_name": None},
    }
    with discord_sends_along(users=users, members={1: {"nick": "Nick"}, 2: {"nick": None}}):
        answer = await ada.types("say", text="Hello <@1>, <@2> and <@3>.")
    assert backend.spoken == ["Hello Nick, Glo and plain3."]
    assert caption_of(answer) == "Hello @Nick, @Glo and @plain3."
    assert not server.requests("GET", "/members/"), "nobody had to be looked up"


async def test_an_unknown_person_is_someone(ada: Member, backend: ScriptedBackend) -> None:
    answer = await ada.types("say", text=f"Hello <@{STRANGER}>.")
    assert backend.spoken == ["Hello someone."]
    assert caption_of(answer) == "Hello someone."


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_a_lookup_that_fails_costs_nothing(
    server: Server, ada: Member, grace: Member, backend: ScriptedBackend, status: int
) -> None:
    server.breaks("GET", "/guilds/*/members/*", status=status, times=20)
    answer = await ada.types("say", text=f"Hello <@{grace.actor.id}>.")
    assert backend.spoken == ["Hello someone."]
    assert len(await answer.files()) == 1


async def test_few_members_are_looked_up(server: Server, ada: Member) -> None:
    crowd = " ".join(f"<@{STRANGER + number}>" for number in range(200))
    await ada.types("say", text=crowd)
    assert len(server.requests("GET", "/members/")) <= 5


async def test_names_of_channels_are_told_only_to_those_who_see_them(
    server: Server, ada: Member, backend: ScriptedBackend
) -> None:
    hidden = server.guild.create_text_channel("conspiracy")
    await ada.may(hidden, view_channel=False)
    answer = await ada.types("say", text=f"See <#{hidden.id}> and <#{server.channel.id}>.")
    assert backend.spoken == ["See some channel and voices."]
    assert caption_of(answer) == r"See some channel and \#voices."


async def test_what_discord_sends_along_of_hidden_channels_is_not_told(
    ada: Member, backend: ScriptedBackend
) -> None:
    channels = {
        11: {"name": "open", "type": 0, "permissions": str(VIEW_CHANNEL | SPEAK)},
        12: {"name": "hidden", "type": 0, "permissions": str(SPEAK)},
        13: {"name": "private thread", "type": 12, "permissions": str(VIEW_CHANNEL)},
    }
    with discord_sends_along(channels=channels):
        await ada.types("say", text="See <#11>, <#12> and <#13>.")
    assert backend.spoken == ["See open, some channel and some channel."]


async def test_custom_emoji_and_roles_are_shown_by_name(
    server: Server, ada: Member, backend: ScriptedBackend
) -> None:
    role = server.guild.create_role("everyone")
    typed = f"Nice <:pepe:123456789012345678> <a:wave:5> to <@&{role.id}>."
    answer = await ada.types("say", text=typed)
    assert backend.spoken == ["Nice pepe wave to everyone."]
    assert caption_of(answer) == "Nice :pepe: :wave: to @\u200beveryone."
    [posted] = [body for body in server.requests("POST", "/webhooks/") if body]
    assert posted["allowed_mentions"]["parse"] == [], "nobody is pinged"


async def test_a_name_cannot_mark_up_a_caption(ada: Member) -> None:
    users = {1: {"username": "x", "global_name": "||[**a**](https://x.example)||\n<@7>\u202e"}}
    with discord_sends_along(users=users):
        answer = await ada.types("say", text="||secret|| <@1>")
    shown = caption_of(answer)
    assert "secret" not in shown
    assert r"@\[\*\*a\*\*\]\(https://x.example\)\<@7\>" in shown
    assert "\u202e" not in shown
