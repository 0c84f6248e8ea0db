"""What a server's audit channel shows, and when it shows nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from bot.guilds.records import AuditAction, ServerSettings
from bot.guilds.tables import AuditRow
from bot.interface.audit_log.channels import OVERLAP, AuditChannels
from tests.support.databases import Clock

if TYPE_CHECKING:
    from simcord.builders import ChannelHandle

    from tests.support.discord_server import Member, Server


@pytest.fixture
def channel(server: Server) -> ChannelHandle:
    return server.guild.create_text_channel("audit")


@pytest_asyncio.fixture(loop_scope="module")
async def channels(server: Server, channel: ChannelHandle) -> AuditChannels:
    """Of a server that has chosen a channel for its log."""
    policy = server.bot.policy
    chosen = ServerSettings(audit_channel_id=channel.id)
    await policy.settings.change(server.guild.id, lambda _before: chosen)
    channels = AuditChannels(server.bot, policy)
    await channels.post_new()
    return channels


def posted_in(channel: ChannelHandle) -> list[str]:
    return [message.content for message in channel.history()]


async def write(server: Server, guild_id: int | None, *, times: int = 1, **columns: int) -> None:
    """Write lines as any process does."""
    columns = {"voice_id": 1, **columns}
    spoke = {"at": Clock()(), "action": AuditAction.SPOKE_FILE, "actor_id": 1, "owner_id": 1}
    async with server.bot.policy.settings._database.write() as session:
        session.add_all(AuditRow(**spoke, guild_id=guild_id, **columns) for _ in range(times))


async def test_each_line_is_posted_once_in_its_own_server(
    server: Server, channel: ChannelHandle, channels: AuditChannels, ada: Member
) -> None:
    voice = await ada.saves_voice()
    await ada.types("say", text="Hello.")
    await server.bot.policy.audit.written()
    await write(server, server.env.create_guild("Elsewhere").id)
    await write(server, None)
    await channels.post_new()
    await channels.post_new()

    (line,) = posted_in(channel)
    assert line.endswith(f"> <@{ada.actor.id}> posted speech with voice #{voice.id}")
    sent = server.requests("POST", f"/channels/{channel.id}/messages")
    assert [request["allowed_mentions"] for request in sent] == [{"parse": []}]


async def test_lines_that_come_together_are_one_message(
    server: Server, channel: ChannelHandle, channels: AuditChannels
) -> None:
    await write(server, server.guild.id, times=100)
    await channels.post_new()
    (message,) = posted_in(channel)
    assert len(message) <= 2_000
    shown = message.count("posted speech")
    assert message.endswith(f"…and {100 - shown} more. `/moderation log` shows them all.")


async def test_many_lines_are_posted_once_each(
    server: Server, channel: ChannelHandle, channels: AuditChannels
) -> None:
    for _ in range(3):
        await write(server, server.guild.id, times=OVERLAP)
        await channels.post_new()
        await channels.post_new()
    assert len(posted_in(channel)) == 3


async def test_a_line_that_is_written_late_is_posted_too(
    server: Server, channel: ChannelHandle, channels: AuditChannels
) -> None:
    """Another process may have taken its id before, and written it after the others."""

    here, last = server.guild.id, await server.bot.policy.audit.last_id()
    await write(server, here, id=last + 11, voice_id=1)
    await channels.post_new()
    await write(server, here, id=last + 10, voice_id=2)
    await channels.post_new()
    assert [line[-2:] for line in posted_in(channel)] == ["#1", "#2"]


async def test_where_the_bot_may_not_post_it_does_not_try(
    server: Server, channel: ChannelHandle, channels: AuditChannels
) -> None:
    seen = server.bot.get_channel(channel.id)
    await seen.set_permissions(seen.guild.me, send_messages=False)  # type: ignore[union-attr]
    await write(server, server.guild.id)
    await channels.post_new()
    await seen.delete()  # type: ignore[union-attr]
    await write(server, server.guild.id)
    await channels.post_new()
    assert not server.requests("POST", f"/channels/{channel.id}/messages")


async def test_what_happened_before_the_start_is_not_posted(
    server: Server, channel: ChannelHandle, channels: AuditChannels
) -> None:
    await write(server, server.guild.id, times=3)
    again = AuditChannels(server.bot, server.bot.policy)
    await again.post_new()
    assert not posted_in(channel)
    await write(server, server.guild.id)
    await again.post_new()
    assert len(posted_in(channel)) == 1
    assert channels is not again
