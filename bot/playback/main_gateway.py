"""What Discord's main gateway shows of the bot in one guild."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bot.errors import Reason, Refusal

if TYPE_CHECKING:
    import discord


class MainGateway:
    """One guild, as the main gateway has sent it.

    Args:
        client: The bot.
        guild_id: The guild.
    """

    def __init__(self, client: discord.Client, guild_id: int) -> None:
        self._client = client
        self._guild_id = guild_id

    @property
    def guild(self) -> discord.Guild:
        """The guild. Raises `Refusal` if the bot is no longer in it."""
        guild = self._client.get_guild(self._guild_id)
        if guild is None:
            raise Refusal(Reason.NO_LONGER_IN_GUILD)
        return guild

    @property
    def is_open(self) -> bool:
        """Whether the bot is connected to it. Raises as `guild` does."""
        shards: Any = getattr(self._client, "shards", {})
        shard = shards.get(self.guild.shard_id)
        return shard is None or not shard.is_closed()

    @property
    def knows_guild(self) -> bool:
        """Whether it is open and has sent the guild, not just a stub. Raises as `guild` does."""
        guild = self.guild
        me: discord.Member | None = guild.me  # None in a stub
        return me is not None and not guild.unavailable and self.is_open

    @property
    def shown(self) -> discord.VoiceState | None:
        """Where it shows the bot; None if in no channel, or if it does not know.

        discord.py keeps a state without a channel of somebody who left unseen (2.7.1,
        `Guild._update_voice_state`).
        """
        guild = self._client.get_guild(self._guild_id)
        me: discord.Member | None = guild.me if guild is not None else None
        state = me.voice if me is not None else None
        return state if state is not None and state.channel is not None else None
