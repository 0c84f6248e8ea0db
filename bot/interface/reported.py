"""Which speech a person means who reports it, or claims its voice."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from bot.errors import Reason, Refusal
from bot.interface.voice_channels import check_knows_voice, voice_channel_of

if TYPE_CHECKING:
    import discord

    from bot.guilds.records import Subject

MAX_LINK_CHARACTERS = 200

# A link, the ids that Discord copies with Shift, or a message's id alone.
_MESSAGE = re.compile(
    r"<?(?:https://(?:\w+\.)?discord(?:app)?\.com/channels/(?:@me|\d{1,20})/\d{1,20}/|\d{1,20}-)?"
    r"(?P<message>\d{1,20})>?",
    re.ASCII,
)


async def subject_of(interaction: discord.Interaction[Any], link: str | None) -> Subject:
    """Return what a person means: a message, or what they hear or heard last in a voice channel.

    Raises `Refusal` if there is no such thing, or it is their own.
    """
    reporting, person = interaction.client.reporting, interaction.user
    if link is not None:
        return await reporting.posted(message_of(link), person.id)
    channel = voice_channel_of(person)
    if channel is None:
        check_knows_voice(person)
        raise Refusal(Reason.JOIN_FIRST_TO_REPORT)
    spoken = interaction.client.players.last_spoken(channel)
    if spoken is None:
        raise Refusal(Reason.NOTHING_HEARD)
    return reporting.heard(
        channel.guild.id, channel.id, spoken.voice_id, spoken.owner_id, person.id
    )


def message_of(link: str) -> int:
    """The id of the message that a link leads to. Raises `Refusal` if it is no such link."""
    found = _MESSAGE.fullmatch(link.strip())
    if found is None or int(found["message"]) >= 2**63:
        raise Refusal(Reason.NOT_A_MESSAGE_LINK)
    return int(found["message"])
