"""The names behind the mentions in what people type, as far as the person may know them.

The bot's cache has only the members who are in a voice channel. But Discord sends along whom a
command mentions (`resolved` in the interaction's data). If it does not, the bot asks for members.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import discord
import structlog

from bot.interface.delivery.answers import DISCORD_FAILURES
from bot.text import MentionKind, mentions

if TYPE_CHECKING:
    from bot.text import NameOf

log = structlog.get_logger(__name__)

MAX_LOOKED_UP = 5
"""At most so many members are looked up for one command."""

LOOKED_UP_WITHIN_SECONDS = 1.5

Person = discord.User | discord.Member
Channel = discord.abc.GuildChannel | discord.Thread


async def resolve_names(
    interaction: discord.Interaction[Any],
    typed: str,
    *,
    message: discord.Message | None = None,
) -> NameOf:
    """Return what finds the names for the mentions in a text.

    The names come from the interaction, from the bot's cache, and for members from Discord. If
    Discord does not answer within `LOOKED_UP_WITHIN_SECONDS`, those names are unknown.

    Args:
        interaction: What the person did.
        typed: The text.
        message: The message whose text it is, if it is one's. Discord says whom it mentions, but
            not by which names the server knows them.
    """
    names = _Names(interaction)
    unknown = {
        snowflake: None
        for kind, snowflake in mentions(typed)
        if kind is MentionKind.USER and names.find(kind, snowflake) is None
    }
    guild = interaction.client.get_guild(interaction.guild_id or 0)  # None if the bot isn't in it
    if unknown and guild is not None:
        names.members = await _look_up(guild, list(unknown)[:MAX_LOOKED_UP])
    if message is not None:
        names.mentioned = {person.id: person.display_name for person in message.mentions}
    return names.find


def no_names(_kind: MentionKind, _snowflake: int) -> None:
    """What finds no names, for a text that has them instead of mentions already."""


class _Names:
    """The names that one person may know.

    Attributes:
        members: The display names of members who were looked up, by their ids.
        mentioned: The names of those whom a message mentions, by their ids.
    """

    def __init__(self, interaction: discord.Interaction[Any]) -> None:
        self.members: dict[int, str] = {}
        self.mentioned: dict[int, str] = {}
        self._person = interaction.user
        self._guild = interaction.guild
        data: Any = interaction.data or {}
        resolved = data.get("resolved") or {}
        self._resolved = {
            kind: resolved.get(kind) or {} for kind in ("users", "members", "roles", "channels")
        }

    def find(self, kind: MentionKind, snowflake: int) -> str | None:
        """Return the name for a mention. None if it is not known, or not for this person."""
        if kind is MentionKind.USER:
            return self._user(snowflake)
        if kind is MentionKind.ROLE:
            role = self._guild.get_role(snowflake) if self._guild is not None else None
            return role.name if role else self._sent("roles", snowflake).get("name")
        return self._channel(snowflake)

    def _sent(self, kind: str, snowflake: int) -> dict[str, Any]:
        """What Discord has sent along about something that the command mentions."""
        sent: dict[str, Any] = self._resolved[kind].get(str(snowflake)) or {}
        return sent

    def _user(self, snowflake: int) -> str | None:
        if snowflake == self._person.id:
            return self._person.display_name
        user = self._sent("users", snowflake)
        nick: str | None = self._sent("members", snowflake).get("nick")
        if sent := nick or user.get("global_name") or user.get("username"):
            return sent
        member = self._guild.get_member(snowflake) if self._guild is not None else None
        if member is not None:
            return member.display_name
        return self.members.get(snowflake) or self.mentioned.get(snowflake)

    def _channel(self, snowflake: int) -> str | None:
        channel = self._guild.get_channel_or_thread(snowflake) if self._guild is not None else None
        if channel is not None:
            return channel.name if _sees(self._person, channel) else None
        sent = self._sent("channels", snowflake)
        # The permissions are those of the person. Who is in a private thread, they don't say.
        permissions = discord.Permissions(int(sent.get("permissions") or 0))
        is_private = sent.get("type") == discord.ChannelType.private_thread.value
        return sent.get("name") if permissions.view_channel and not is_private else None


async def _look_up(guild: discord.Guild, ids: list[int]) -> dict[int, str]:
    """Ask Discord for members; return the display names that it tells in time."""
    asking = {asyncio.create_task(guild.fetch_member(each)): each for each in ids}
    try:
        await asyncio.wait(asking, timeout=LOOKED_UP_WITHIN_SECONDS)
    finally:
        late = [task for task in asking if task.cancel()]
        answers = await asyncio.gather(*asking, return_exceptions=True)
    names = {}
    for member_id, answer in zip(asking.values(), answers, strict=True):
        if isinstance(answer, discord.Member):
            names[member_id] = answer.display_name
        elif not isinstance(answer, (*DISCORD_FAILURES, asyncio.CancelledError)):
            log.error("a member was not looked up", exc_info=answer)
    if late:
        log.warning("members were not looked up in time", members=len(late), guild=guild.id)
    return names


def _sees(person: Person, channel: Channel) -> bool:
    """Whether a person may know a channel's name. Who is in a private thread is not known."""
    if not isinstance(person, discord.Member):
        return False
    if isinstance(channel, discord.Thread):
        has_parent = channel.parent is not None and not channel.is_private()
        return has_parent and channel.permissions_for(person).view_channel
    return channel.permissions_for(person).view_channel
