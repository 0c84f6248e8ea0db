"""A long list, a page at a time, with buttons to turn them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import discord

from bot.interface.errors import DISCORD_FAILURES, TimbreView

Render = Callable[[int], Awaitable[tuple[str, int]]]
"""Takes a page number from 0; gives the page's text and how many pages there are now."""

TURN_WITHIN_SECONDS = 600.0


class Pages(TimbreView):
    """Shows one page; the list is asked for again at each turn, so it is never out of date."""

    def __init__(self, render: Render) -> None:
        super().__init__(timeout=TURN_WITHIN_SECONDS)
        self._render = render
        self._page = 0
        self._shown_by: discord.Interaction[Any] | None = None

    async def show(self, interaction: discord.Interaction[Any]) -> None:
        """Show the current page in the interaction's (acknowledged) answer."""
        text, count = await self._render(self._page)
        if self._page >= count > 0:
            self._page = count - 1
            text, count = await self._render(self._page)
        self.previous.disabled = self._page == 0
        self.following.disabled = self._page >= count - 1
        view = self if count > 1 else None
        await interaction.edit_original_response(content=text, view=view)
        self._shown_by = interaction

    async def on_timeout(self) -> None:
        """Take the buttons away rather than let them fail."""
        if self._shown_by is not None:
            with suppress(*DISCORD_FAILURES):
                await self._shown_by.edit_original_response(view=None)

    @discord.ui.button(label="◀ Previous")
    async def previous(
        self, interaction: discord.Interaction[Any], _button: discord.ui.Button[Pages]
    ) -> None:
        """Turn one page back."""
        await self._turn(interaction, -1)

    @discord.ui.button(label="Next ▶")
    async def following(
        self, interaction: discord.Interaction[Any], _button: discord.ui.Button[Pages]
    ) -> None:
        """Turn one page on."""
        await self._turn(interaction, 1)

    async def _turn(self, interaction: discord.Interaction[Any], by: int) -> None:
        await interaction.response.defer()
        self._page = max(0, self._page + by)
        await self.show(interaction)
