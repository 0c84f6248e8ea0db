"""Buttons that work for as long as their message is there, over restarts of the bot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord

from bot.interface.delivery.tokens import note_arrival
from bot.interface.errors import answer_error

if TYPE_CHECKING:
    import re
    from typing import Self


class LastingButton(discord.ui.DynamicItem[discord.ui.Button[Any]], template=""):
    """A button whose id says all that is needed when it is pressed.

    A subclass has a `template` for its ids, and `from_match` and `press`. It has to be among the
    dynamic items that the bot registers at its start.
    """

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        """Make the button that has an id which matches the template."""
        raise NotImplementedError

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        """Do what the button is for. What it raises is told to whoever pressed."""
        raise NotImplementedError

    @classmethod
    async def from_custom_id(
        cls,
        _interaction: discord.Interaction[Any],
        _item: discord.ui.Item[Any],
        match: re.Match[str],
        /,
    ) -> Self:
        """Make the button that was pressed. Called by discord.py."""
        return cls.from_match(match)

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Do what the button is for, and tell errors. Called by discord.py."""
        note_arrival(interaction)
        try:
            await self.press(interaction)
        except Exception as error:  # noqa: BLE001 - discord.py would only log it
            await answer_error(interaction, error, source=type(self).__name__)
