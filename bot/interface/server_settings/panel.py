"""What `/settings` shows: all that a server's admins decided, and controls to change it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import discord

from bot.interface.cards import ACCENT
from bot.interface.server_settings.parts import LIMIT_FIELDS, SWITCHES, WORDS, Part
from bot.interface.typed_text import voice_name

if TYPE_CHECKING:
    from bot.guilds.limits import Limits
    from bot.guilds.records import ServerSettings
    from bot.voices.rights import SharedPage, SharedVoice

MAX_CHOSEN = 25
"""So many channels or roles can be chosen in one menu of Discord's."""

_MENU, _CHOICE, _BUTTONS = range(3)
"""The rows below the message."""

_POSTABLE = [discord.ChannelType.text, discord.ChannelType.news]
_VOICE = [discord.ChannelType.voice, discord.ChannelType.stage_voice]
_WITH_COMMANDS = [*_POSTABLE, discord.ChannelType.forum, *_VOICE]


class Use(StrEnum):
    """What a menu or button is for. The values are in their ids."""

    SHOW = "show"
    SET = "set"
    OPEN_FORM = "form"
    CLEAR = "clear"
    TURN_ON = "on"
    TURN_OFF = "off"


CONTROL_ID = re.compile(rf"settings:(?P<use>{'|'.join(Use)}):(?P<part>{'|'.join(Part)}|)")
"""The ids of menus and buttons. They say all that is needed, so they also work after a restart."""


_ALL_ROLES_GONE = "Only members with Manage Server, because every role you chose was deleted."
_ALL_CHANNELS_GONE = "Nowhere, because every channel you chose was deleted."
_CHANNEL_GONE = "Not posted, because the channel you chose was deleted."
_VOICE_GONE = "None, because the voice you chose isn't shared with everyone here any more."
_CANT_BE_USED = (
    "can't be used now: it's frozen or removed, its owner is blocked, or its speaker read no "
    "sentence aloud and you ask for that."
)
_NONE_OFFERED = (
    "No voice is shared with everyone here yet. Its owner does that with `/voice share`."
)
_CHOOSE_AGAIN = "⚠️ {} Choose again below, or clear it."


MORE_VOICES = "more:"
"""The value of a menu's last entry, before how many voices come before those that it leads to."""

VOICES_PER_MENU = 24
"""Discord takes 25 entries, and the last one leads to the others."""


@dataclass(frozen=True, slots=True)
class ServerVoices:
    """The voices that can be a server's default voice.

    Attributes:
        chosen: The default voice; None if there is none, or it isn't shared with everyone any more.
        is_usable: Whether the default voice can be used now.
        offered: Some of the voices that are shared with everyone; none while nothing is chosen.
        offset: How many come before these.
    """

    chosen: SharedVoice | None = None
    is_usable: bool = True
    offered: SharedPage | None = None
    offset: int = 0


def page(
    guild: discord.Guild,
    settings: ServerSettings,
    limits: Limits,
    part: Part | None,
    voices: ServerVoices,
) -> discord.Embed:
    """All that is decided for a server, and what the part means that is about to be changed.

    Args:
        guild: The server.
        settings: What its admins decided.
        limits: The operator's.
        part: What is about to be changed, if anything is.
        voices: Those that can be the server's default voice.
    """
    embed = discord.Embed(
        title="Settings of this server",
        colour=ACCENT,
        description=f"**{WORDS[part].name}**: {WORDS[part].meaning}"
        if part is not None
        else "Choose below what to change. Changes count from the next command on. "
        "`/stop` ends what's being said or waits.",
    )
    for each, words in WORDS.items():
        if each is Part.LIMITS:
            value = _limits(settings, limits)
        elif each is Part.DEFAULT_VOICE:
            value = _default_voice(settings, voices, is_open=part is each) or words.by_default
        elif each in SWITCHES:
            value = SWITCHES[each][getattr(settings, each.value)]
        else:
            value = _chosen(guild, each, getattr(settings, each.value)) or words.by_default
        embed.add_field(name=words.name, value=value, inline=False)
    return embed


def items(
    guild: discord.Guild, settings: ServerSettings, part: Part | None, voices: ServerVoices
) -> list[discord.ui.Item[Any]]:
    """The menus and buttons below the page, as for `page`. Their ids match `CONTROL_ID`."""
    menu: discord.ui.Select[Any] = discord.ui.Select(
        custom_id=_control_id(Use.SHOW), placeholder="What do you want to change?", row=_MENU
    )
    for each, words in WORDS.items():
        menu.add_option(label=words.name, value=each.value, default=each is part)
    shown: list[discord.ui.Item[Any]] = [menu]
    if part is None:
        return shown
    if part in SWITCHES:
        is_on = getattr(settings, part.value)
        use, label = (Use.TURN_OFF, "Turn off") if is_on else (Use.TURN_ON, "Turn on")
        custom_id = _control_id(use, part)
        return [*shown, discord.ui.Button(custom_id=custom_id, label=label, row=_BUTTONS)]
    if part is Part.LIMITS:
        shown.append(
            discord.ui.Button(
                custom_id=_control_id(Use.OPEN_FORM, part),
                label="Change the limits",
                style=discord.ButtonStyle.primary,
                row=_BUTTONS,
            )
        )
    elif part is Part.DEFAULT_VOICE:
        if voices.offered is not None and voices.offered.voices:
            shown.append(_voice_menu(voices, voices.offered))
    else:
        shown.append(_choice(guild, part, getattr(settings, part.value)))
    clear = _control_id(Use.CLEAR, part)
    shown.append(discord.ui.Button(custom_id=clear, label="Clear", row=_BUTTONS))
    return shown


def _control_id(use: Use, part: Part | None = None) -> str:
    return f"settings:{use}:{part or ''}"


def _choice(
    guild: discord.Guild, part: Part, chosen: frozenset[int] | int | None
) -> discord.ui.Item[Any]:
    """The menu of Discord's in which a part's channels or roles are chosen."""
    custom_id = _control_id(Use.SET, part)
    if part in {Part.CLONE_ROLES, Part.SPEAK_ROLES}:
        return discord.ui.RoleSelect(
            custom_id=custom_id,
            placeholder="Choose roles",
            min_values=0,
            max_values=MAX_CHOSEN,
            default_values=[discord.Object(each) for each in _existing(guild, part, chosen)],
            row=_CHOICE,
        )
    is_one = part in {Part.REPORT_CHANNEL, Part.AUDIT_CHANNEL}
    types = _POSTABLE if is_one else _VOICE if part is Part.VOICE_CHANNELS else _WITH_COMMANDS
    return discord.ui.ChannelSelect(
        custom_id=custom_id,
        placeholder="Choose a channel" if is_one else "Choose channels",
        channel_types=types,
        min_values=0,
        max_values=1 if is_one else MAX_CHOSEN,
        default_values=[discord.Object(each) for each in _existing(guild, part, chosen)],
        row=_CHOICE,
    )


def _voice_menu(voices: ServerVoices, offered: SharedPage) -> discord.ui.Item[Any]:
    """The menu in which a server's default voice is chosen."""
    menu: discord.ui.Select[Any] = discord.ui.Select(
        custom_id=_control_id(Use.SET, Part.DEFAULT_VOICE),
        placeholder="Choose a voice",
        row=_CHOICE,
    )
    for voice in offered.voices:
        is_chosen = voices.chosen is not None and voices.chosen.id == voice.id
        menu.add_option(label=voice.label, value=str(voice.id), default=is_chosen)
    following = voices.offset + len(offered.voices)
    if following < offered.total:
        menu.add_option(label="More voices…", value=f"{MORE_VOICES}{following}")
    elif voices.offset:
        menu.add_option(label="Back to the first voices…", value=f"{MORE_VOICES}0")
    return menu


def _default_voice(settings: ServerSettings, voices: ServerVoices, *, is_open: bool) -> str:
    """The default voice of a server; no text if there is none."""
    if voices.chosen is not None:
        line = f"{voice_name(voices.chosen.name)} by <@{voices.chosen.owner_id}>"
        return line if voices.is_usable else _CHOOSE_AGAIN.format(f"{line} {_CANT_BE_USED}")
    if settings.default_voice_id is not None:
        return _CHOOSE_AGAIN.format(_VOICE_GONE)
    is_empty = voices.offered is not None and not voices.offered.total
    return _NONE_OFFERED if is_open and is_empty else ""


def _chosen(guild: discord.Guild, part: Part, chosen: frozenset[int] | int | None) -> str:
    """What was chosen for a part, as mentions; no text if nothing was."""
    if not chosen:
        return ""
    are_roles = part in {Part.CLONE_ROLES, Part.SPEAK_ROLES}
    there = _existing(guild, part, chosen)
    if not there:
        gone = _ALL_ROLES_GONE if are_roles else _ALL_CHANNELS_GONE
        return _CHOOSE_AGAIN.format(_CHANNEL_GONE if isinstance(chosen, int) else gone)
    shown = ", ".join(f"<@&{each}>" if are_roles else f"<#{each}>" for each in there)
    missing = 0 if isinstance(chosen, int) else len(chosen) - len(there)
    return f"{shown}, and {missing} that {_were(missing)} deleted" if missing else shown


def _existing(guild: discord.Guild, part: Part, chosen: frozenset[int] | int | None) -> list[int]:
    """Those of the chosen roles or channels that the server still has."""
    ids = {chosen} if isinstance(chosen, int) else chosen or ()
    find = guild.get_role if part in {Part.CLONE_ROLES, Part.SPEAK_ROLES} else guild.get_channel
    return [each for each in sorted(ids) if find(each) is not None]


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _limits(settings: ServerSettings, limits: Limits) -> str:
    lines, operators = [], 0
    for field in LIMIT_FIELDS:
        own, highest = getattr(settings, field.name), getattr(limits, field.name)
        lowest = min((each for each in (own, highest) if each is not None), default=None)
        line = f"{field.title}: **{field.shown(lowest)}**"
        if lowest != highest:
            line += f" (whoever runs this bot allows {field.shown(highest)})"
        else:
            operators += 1
        lines.append(line)
    if operators:
        which = "These" if operators == len(LIMIT_FIELDS) else "The other numbers"
        lines.append(f"-# {which} come from whoever runs this bot.")
    return "\n".join(lines)
