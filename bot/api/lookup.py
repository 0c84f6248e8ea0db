"""Finds the voice that a request names. Other people's voices are as if there were none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bot.errors import Reason, Refusal

if TYPE_CHECKING:
    from bot.guilds.access import Actor
    from bot.voice_access import VoiceAccess
    from bot.voices.records import SavedVoice

_ID = re.compile(r"voice_([1-9]\d{0,8})", re.ASCII)


def id_of(voice: SavedVoice) -> str:
    """The id by which clients name a voice. It stays the same if the voice is renamed."""
    return f"voice_{voice.id}"


async def find_voice(access: VoiceAccess, actor: Actor, wanted: str) -> SavedVoice:
    """Return a person's voice by its name or its id. Raises `Refusal` if they have none such.

    What is shared in a server can be used there only, and a key has no server.
    """
    try:
        return await access.own(actor, wanted)
    except Refusal as refusal:
        number = _ID.fullmatch(wanted)
        if refusal.reason is not Reason.NO_SUCH_VOICE or number is None:
            raise
    return await access.own(actor, f"#{number[1]}")
