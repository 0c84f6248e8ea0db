"""A server where speech is reported: who speaks, who reports, and who decides."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import discord

from bot.guilds.records import ServerSettings
from tests.support.discord_server import Answer, Member, open_server
from tests.support.scripted_backend import ScriptedBackend

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from simcord.builders import ChannelHandle

    from tests.support.discord_server import Server

MENU = "Report this speech"
REASON = "What's wrong with it?"


@dataclass
class Scene:
    """A server with a channel for reports, and an operator who reads direct messages.

    Attributes:
        server: The server.
        ada: Has a voice, and speaks with it.
        grace: Hears that.
        admin: Manages the server.
        operator: Runs the bot.
        reports: The server's channel for reports.
    """

    server: Server
    ada: Member
    grace: Member
    admin: Member
    operator: Member
    reports: ChannelHandle

    async def speech(self, text: str = "Hello.") -> discord.Message:
        """Ada speaks."""
        [message] = (await self.ada.types("say", text=text)).posted
        return message

    async def reported(self, message: discord.Message, reason: str = "") -> Answer:
        """Grace reports a message."""
        form = await uses_menu(self.grace, message)
        return await self.grace.submits(form, {REASON: reason})

    async def operator_presses(self, message: object, label: str) -> Answer:
        """The operator presses a button in a direct message."""
        return Answer(await self.operator.actor.user.click(message, label=label))

    @property
    def notice(self) -> discord.Message:
        """What the server's moderators see."""
        return self.reports.history()[-1]

    @property
    def direct_notice(self) -> discord.Message:
        """What the operator sees."""
        return self.operator.actor.user.dm_channel.history()[-1]

    async def hides(self, channel: ChannelHandle) -> None:
        """Only those who manage the server can see a channel from now on."""
        seen = self.server.bot.get_channel(channel.id)
        assert isinstance(seen, discord.TextChannel)
        [admins] = [role for role in seen.guild.roles if role.name == "admins"]
        await seen.set_permissions(admins, view_channel=True)
        await seen.set_permissions(seen.guild.me, view_channel=True)
        await seen.set_permissions(seen.guild.default_role, view_channel=False)

    async def reads_reports_in(self, channel: ChannelHandle) -> None:
        """The admins choose the channel for reports."""
        chosen = ServerSettings(report_channel_id=channel.id)
        kept = self.server.bot.policy.settings
        await kept.change(self.server.guild.id, lambda _before: chosen)


@asynccontextmanager
async def open_scene(folder: Path) -> AsyncIterator[Scene]:
    """Start the bot on a server with a channel for reports, where ada has a voice, "Bob"."""
    async with open_server(folder, ScriptedBackend()) as server:
        guild = server.guild
        role = guild.create_role("admins", permissions=discord.Permissions(manage_guild=True))
        user = server.env.create_user("admin")
        scene = Scene(
            server=server,
            ada=server.member("ada"),
            grace=server.member("grace"),
            admin=Member(server, guild.add_member(user, roles=[role])),
            operator=server.member("operator"),
            reports=guild.create_text_channel("reports"),
        )
        ids = {"operators": frozenset({scene.operator.actor.id})}
        server.bot.settings = server.bot.settings.model_copy(update=ids)
        await server.restarts()
        await scene.reads_reports_in(scene.reports)
        await scene.ada.saves_voice(name="Bob")
        yield scene


async def uses_menu(member: Member, message: discord.Message) -> Answer:
    return await member.uses_menu(MENU, message)


def shown(message: discord.Message) -> dict[str, str]:
    """What the card of a report shows."""
    [card] = message.embeds
    return {str(field.name): str(field.value) for field in card.fields}


def labels(message: discord.Message) -> list[str]:
    return [
        str(button.label)
        for row in message.components
        if isinstance(row, discord.ActionRow)
        for button in row.children
        if isinstance(button, discord.Button)
    ]


async def says(member: Member) -> str:
    """What a member is told, privately, who speaks with their voice; nothing if it works."""
    return (await member.types("say", text="Hello again.")).told
