"""Finds the voice that a request names. Voices that a person may not use are as if none were there.

A key has no server. So of the voices of others, those count that are shared with its person by
name. Whether somebody has a role, or is in a server at all, Discord alone knows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bot.errors import Reason, Refusal
from bot.voices.names import lookup_key

if TYPE_CHECKING:
    from bot.guilds.access import Actor
    from bot.voice_access import VoiceAccess
    from bot.voices.records import SavedVoice
    from bot.voices.rights import NamedShare, SharedVoice

_ID = re.compile(r"voice_([1-9]\d{0,8})", re.ASCII)


def id_of(voice: SavedVoice | SharedVoice) -> str:
    """The id by which clients name a voice. It stays the same if the voice is renamed."""
    return f"voice_{voice.id}"


async def find_own(access: VoiceAccess, actor: Actor, wanted: str) -> SavedVoice:
    """Return a person's own voice by its name or its id. Raises `Refusal` if there is none."""
    try:
        return await access.own(actor, wanted)
    except Refusal as refusal:
        number = _ID.fullmatch(wanted)
        if refusal.reason is not Reason.NO_SUCH_VOICE or number is None:
            raise
    return await access.own(actor, f"#{number[1]}")


async def find_shared(
    access: VoiceAccess, user_id: int, wanted: str
) -> tuple[Actor, NamedShare] | None:
    """Return a voice of somebody else by its id, its name with the owner's, or its name.

    Returns it with the person in the server where it is shared with them; None if there is none.
    Raises `Refusal` if several have that name.
    """
    shared, key = await access.shared_by_name(user_id), lookup_key(wanted)
    with_id = [each for each in shared if id_of(each[1].voice) == wanted]
    with_owner = [each for each in shared if lookup_key(each[1].voice.label) == key]
    with_name = [each for each in shared if lookup_key(each[1].voice.name) == key]
    for found in (with_id, with_owner, with_name):
        if len(found) > 1:
            raise Refusal(
                Reason.SEVERAL_VOICES, voices=", ".join(id_of(share.voice) for _, share in found)
            )
        if found:
            return found[0]
    return None


async def find_usable(access: VoiceAccess, actor: Actor, wanted: str) -> tuple[Actor, SavedVoice]:
    """Return a voice that a person may speak with, their own first, and the person as its user.

    For a voice of somebody else, that is the person in the server where it is shared with them:
    what is decided there holds, and counts there. Raises `Refusal`.
    """
    try:
        saved = await find_own(access, actor, wanted)
    except Refusal as refusal:
        if refusal.reason is not Reason.NO_SUCH_VOICE:
            raise
        found = await find_shared(access, actor.user_id, wanted)
        if found is None:
            raise
        there, share = found
        return there, await access.voice(there, share.voice.id)
    await access.check(actor, saved)
    return actor, saved
