"""The button "Again" below speech, which works after a restart too.

Its id says which voice spoke, and how. What it said is in the message. So nothing else is kept of
it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import discord

from bot.interface.lasting_button import LastingButton

if TYPE_CHECKING:
    import re

    from bot.interface.delivery.attachment import ReplyFormat


class AgainButton(
    LastingButton,
    template=(
        r"again:(?P<voice>\d{1,18}):(?P<language>[A-Za-z]{0,20})"
        r":(?P<format>[a-z0-9-]{1,20}):(?P<speed>(?:\d\.\d\d)?)"
    ),
):
    """Has a message's text said once more. Speech is sampled, so it sounds different each time.

    Args:
        voice_id: The voice that spoke.
        language: The language that was chosen; None if none was.
        reply_format: The kind of file.
        speed: The speed that was chosen, with two decimals; None if none was.
    """

    def __init__(
        self, voice_id: int, language: str | None, reply_format: str, speed: float | None
    ) -> None:
        chosen_speed = "" if speed is None else f"{speed:.2f}"
        custom_id = f"again:{voice_id}:{language or ''}:{reply_format}:{chosen_speed}"
        super().__init__(discord.ui.Button(label="Again", emoji="🔁", custom_id=custom_id))
        self.voice_id = voice_id
        self.language = language
        self.reply_format = reply_format
        self.speed = speed

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        """As `LastingButton.from_match`."""
        return cls(
            int(match["voice"]),
            match["language"] or None,
            match["format"],
            float(match["speed"]) if match["speed"] else None,
        )

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        """Say it again, if whoever pressed may use the voice."""
        await interaction.client.speaking.say_again(interaction, self)


def again_view(
    voice_id: int, language: str | None, reply_format: ReplyFormat, speed: float | None
) -> discord.ui.View:
    """The button below speech, see `AgainButton`."""
    view = discord.ui.View(timeout=None)
    view.add_item(AgainButton(voice_id, language, reply_format, speed))
    return view
