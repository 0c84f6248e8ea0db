"""How voices of others are shown, and with whom one's own are shared."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import discord

from bot.interface.cards import ACCENT, IS_DEFAULT, LANGUAGE_FOUND, chosen_language
from bot.interface.typed_text import as_text, voice_name
from bot.voices.rights import Audience

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from bot.voices.records import SavedVoice
    from bot.voices.rights import Share, SharedVoice

    FindGuild = Callable[[int], discord.Guild | None]

MAX_NAMED = 15
"""So many of those who may use a voice in a server are named."""

MAX_SERVERS = 8
MAX_FIELD_CHARACTERS = 1024


def shared_line(voice: SharedVoice, *, is_usable: bool, is_default: bool = False) -> str:
    """A line of a list about a voice that is shared with who reads it."""
    line = f"{voice_name(voice.name)} · by <@{voice.owner_id}>"
    if is_default:
        line += f" · {IS_DEFAULT}"
    if language := chosen_language(voice.language):
        line += f" · {language}"
    return line if is_usable else f"{line} · **can't be used now**"


def where_shared(shares: Collection[Share], guild_id: int | None) -> str | None:
    """Where one's own voice is shared, for a line of a list; None if it is nowhere.

    Args:
        shares: With whom the voice is shared.
        guild_id: The server where the list is shown, or None.
    """
    if not shares:
        return None
    here = [share for share in shares if share.guild_id == guild_id]
    if any(share.audience is Audience.EVERYONE for share in here):
        return "**shared with everyone here**"
    if here:
        return "**shared here**"
    return "**shared elsewhere**" if guild_id is not None else "**shared**"


def shared_card(voice: SavedVoice) -> discord.Embed:
    """All that others see of a voice: neither its recording nor its transcript."""
    card = discord.Embed(title=as_text(voice.name), colour=ACCENT)
    card.add_field(name="Owner", value=f"<@{voice.owner_id}>")
    card.add_field(name="Language", value=chosen_language(voice.language) or LANGUAGE_FOUND)
    card.set_footer(text="It's shared with you here. Only its owner can rename or delete it.")
    return card


def add_who_may_use(
    card: discord.Embed, shares: Collection[Share], guild_id: int | None, find: FindGuild
) -> None:
    """Add to the card of one's own voice who else may use it.

    Args:
        card: The card.
        shares: With whom the voice is shared.
        guild_id: The server where the card is shown, or None.
        find: Returns a server that the bot is in, by its id.
    """
    if not shares:
        card.set_footer(
            text="Only you can see and use this voice. /voice share lets others use it."
        )
        return
    value = who_may_use(shares, guild_id, find)
    card.add_field(name="Who else may use it", value=value, inline=False)
    card.set_footer(text="Only you can rename, share or delete it. /voice unshare takes it back.")


def who_may_use(shares: Collection[Share], guild_id: int | None, find: FindGuild) -> str:
    """Who else may use one's own voice: a line for each server, of 1,024 characters in all.

    The arguments are those of `add_who_may_use`.
    """
    lines = []
    ordered = sorted(shares, key=lambda share: (share.guild_id != guild_id, share.guild_id))
    for server, group in groupby(ordered, key=lambda share: share.guild_id):
        guild, there = find(server), list(group)
        name = "a server that I'm not in" if guild is None else as_text(guild.name)
        here = " (this server)" if server == guild_id else ""
        who = sorted(
            there, key=lambda share: (list(Audience).index(share.audience), share.audience_id)
        )
        named = [_who(share, guild, is_here=bool(here)) for share in who[:MAX_NAMED]]
        if len(who) > MAX_NAMED:
            named.append(f"{len(who) - MAX_NAMED} more")
        lines.append(f"**{name}**{here}: {', '.join(named)}")
    if len(lines) > MAX_SERVERS:
        lines[MAX_SERVERS:] = [f"… and {len(lines) - MAX_SERVERS} more servers"]
    value = "\n".join(lines)
    while len(value) > MAX_FIELD_CHARACTERS:
        lines[-2:] = ["… and more"]
        value = "\n".join(lines)
    return value


def losing(shares: Collection[Share], guild_id: int | None, find: FindGuild) -> str:
    """Who else loses one's own voice when it is deleted; empty if nobody does.

    The arguments are those of `add_who_may_use`.
    """
    if not shares:
        return ""
    return f"Whoever you share it with loses it:\n{who_may_use(shares, guild_id, find)}\n"


def _who(share: Share, guild: discord.Guild | None, *, is_here: bool) -> str:
    """Whom a voice is shared with. Mentions of roles are readable in their own server alone."""
    if share.audience is Audience.EVERYONE:
        return "everyone"
    if share.audience is Audience.MEMBER:
        return f"<@{share.audience_id}>"
    role = None if guild is None else guild.get_role(share.audience_id)
    if role is None:
        return "a role" if guild is None or guild.unavailable else "a role that was deleted"
    return f"<@&{role.id}>" if is_here else f"@{as_text(role.name)}"
