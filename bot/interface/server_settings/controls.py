"""What happens when a member uses the menus, the buttons and the form of `/settings`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import discord

from bot.errors import Reason, Refusal
from bot.guilds.access import Action
from bot.guilds.records import AuditAction, ServerSettings
from bot.interface.actors import actor_of
from bot.interface.delivery.answers import link_in_embed
from bot.interface.delivery.tokens import note_arrival
from bot.interface.errors import answer_error
from bot.interface.server_settings.panel import (
    CONTROL_ID,
    MORE_VOICES,
    VOICES_PER_MENU,
    ServerVoices,
    Use,
    items,
    page,
)
from bot.interface.server_settings.parts import LIMIT_FIELDS, Part
from bot.interface.views import FORM_TIMEOUT_SECONDS, before_form
from bot.interface.wording.sentences import explain

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Sequence

    from bot.guilds.limits import Limits

    Update = Callable[[ServerSettings], ServerSettings]

MAX_DIGITS = 5
FORM_ID = "settings:limits"
SAVED = "Saved."


class SettingsControl(discord.ui.DynamicItem[discord.ui.Item[Any]], template=CONTROL_ID):
    """A menu or a button below the settings."""

    @classmethod
    async def from_custom_id(
        cls,
        _interaction: discord.Interaction[Any],
        item: discord.ui.Item[Any],
        _match: re.Match[str],
        /,
    ) -> Self:
        """Make it anew when somebody uses it. Called by discord.py."""
        return cls(item)

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Do what it is for, if the member may still decide that. Called by discord.py."""
        note_arrival(interaction)
        match = CONTROL_ID.fullmatch(self.custom_id)
        assert match is not None  # noqa: S101 - or it would not have been called
        data: Any = interaction.data
        try:
            if match["use"] == Use.OPEN_FORM:
                await _open_form(interaction)
                return
            async with interaction.client.reply(interaction, Action.MANAGE, in_place=True):
                if match["use"] == Use.SHOW:
                    await show_settings(interaction, Part(data["values"][0]))
                    return
                part, values = Part(match["part"]), data.get("values", ())
                if part is Part.DEFAULT_VOICE:
                    await _choose_voice(interaction, values)
                    return
                ids = [int(each) for each in values]
                if match["use"] in {Use.TURN_ON, Use.TURN_OFF}:
                    on = match["use"] == Use.TURN_ON
                    await _change(interaction, part, lambda: _switch(interaction, part, on=on))
                    return
                await _change(interaction, part, lambda: _choice(interaction, part, ids))
        except Exception as error:  # noqa: BLE001 - discord.py would only log it
            await answer_error(interaction, error, source="settings")


async def show_settings(
    interaction: discord.Interaction[Any],
    part: Part | None = None,
    words: str | None = None,
    *,
    voices_from: int = 0,
) -> None:
    """Show a server's settings in the interaction's (acknowledged) answer.

    Args:
        interaction: Of a member who may change them.
        part: What is about to be changed, if anything is.
        words: What is said above.
        voices_from: How many of the voices that can be chosen are left out.
    """
    guild, policy = _guild_of(interaction), interaction.client.policy
    settings = await policy.settings.of(guild.id)
    voices = await _voices(interaction, settings, part, voices_from)
    embed = page(guild, settings, policy.limits, part, voices)
    link_in_embed(interaction, embed)
    view = discord.ui.View(timeout=None)
    for item in items(guild, settings, part, voices):
        view.add_item(SettingsControl(item))
    await interaction.edit_original_response(content=words, embed=embed, view=view)


async def receive_form(interaction: discord.Interaction[Any]) -> None:
    """Change the limits as somebody wrote them, if an interaction is the form of the limits.

    discord.py forgets its forms when the process ends, so every interaction is looked at here.
    """
    data: Any = interaction.data
    if interaction.type is not discord.InteractionType.modal_submit or data["custom_id"] != FORM_ID:
        return
    fields = (label["component"] for label in data["components"])
    written = {field["custom_id"]: field["value"] for field in fields}
    limits = interaction.client.policy.limits
    try:
        async with interaction.client.reply(interaction, Action.MANAGE, in_place=True):
            await _change(interaction, Part.LIMITS, lambda: _limits(written, limits))
    except Exception as error:  # noqa: BLE001 - discord.py would only log it
        await answer_error(interaction, error, source="settings")


async def _open_form(interaction: discord.Interaction[Any]) -> None:
    """Open the form of the limits, filled with those that the server has."""
    policy = interaction.client.policy

    async def settings_to_change() -> ServerSettings:
        await policy.check(actor_of(interaction), Action.MANAGE)
        settings: ServerSettings = await policy.settings.of(interaction.guild_id)
        return settings

    settings = await before_form(settings_to_change())
    form = discord.ui.Modal(
        title="Limits of this server", custom_id=FORM_ID, timeout=FORM_TIMEOUT_SECONDS
    )
    for field in LIMIT_FIELDS:
        own, highest = getattr(settings, field.name), getattr(policy.limits, field.name)
        component: discord.ui.TextInput[Any] = discord.ui.TextInput(
            custom_id=field.name,
            default=None if own is None else str(own // field.unit),
            placeholder=f"Empty: {field.shown(highest)}",
            required=False,
            max_length=MAX_DIGITS,
        )
        form.add_item(discord.ui.Label(text=field.title, component=component))
    await interaction.response.send_modal(form)


async def _change(
    interaction: discord.Interaction[Any], part: Part, choose: Callable[[], Update]
) -> None:
    """Store what was chosen for a part, and show it; or else show why it can't be.

    Args:
        interaction: Of a member who may change it, acknowledged.
        part: What is changed.
        choose: Returns how the settings change. Raises `Refusal` if they can't.
    """
    policy, guild_id = interaction.client.policy, interaction.guild_id
    try:
        await policy.settings.change(guild_id, choose())
    except Refusal as refusal:
        await show_settings(interaction, part, explain(refusal))
        return
    policy.audit.note(
        AuditAction.SETTINGS_CHANGED,
        actor_id=interaction.user.id,
        guild_id=guild_id,
        details=part.value,
    )
    await show_settings(interaction, part, SAVED)


async def _voices(
    interaction: discord.Interaction[Any], settings: ServerSettings, part: Part | None, offset: int
) -> ServerVoices:
    """The server's default voice, and some of those that it can be if it is to be changed."""
    sharing, guild_id = interaction.client.library.sharing, interaction.guild_id
    chosen, offered, usable = None, None, []
    if settings.default_voice_id is not None:
        chosen = await sharing.open_voice(guild_id, settings.default_voice_id)
    if chosen is not None:
        usable = await interaction.client.voice_access.usable(actor_of(interaction), [chosen])
    if part is Part.DEFAULT_VOICE:
        offered = await sharing.open_to_all(guild_id, offset=offset, limit=VOICES_PER_MENU)
    return ServerVoices(chosen, bool(usable), offered, offset)


async def _choose_voice(interaction: discord.Interaction[Any], values: Sequence[str]) -> None:
    """Choose the server's default voice, none if there is no value, or show others to choose."""
    if values and values[0].startswith(MORE_VOICES):
        offset = int(values[0].removeprefix(MORE_VOICES))
        await show_settings(interaction, Part.DEFAULT_VOICE, voices_from=offset)
        return
    sharing, guild_id = interaction.client.library.sharing, interaction.guild_id
    voice_id = int(values[0]) if values else None
    is_open = voice_id is None or await sharing.open_voice(guild_id, voice_id) is not None

    def choose() -> Update:
        if not is_open:
            raise Refusal(Reason.CHOICE_GONE)
        return lambda settings: replace(settings, default_voice_id=voice_id)

    await _change(interaction, Part.DEFAULT_VOICE, choose)


def _choice(interaction: discord.Interaction[Any], part: Part, ids: list[int]) -> Update:
    """Choose channels or roles, none for what holds by default; for limits it is always none.

    Raises `Refusal` if the server has them no more, or the bot may not post there.
    """
    guild = _guild_of(interaction)
    if part is Part.LIMITS:
        none: dict[str, Any] = {field.name: None for field in LIMIT_FIELDS}
        return lambda settings: replace(settings, **none)
    chosen: Any
    if part in {Part.CLONE_ROLES, Part.SPEAK_ROLES}:
        is_everyone = guild.default_role.id in ids
        chosen = frozenset() if is_everyone else frozenset(_found(guild.get_role, ids))
    elif part in {Part.CHANNELS, Part.VOICE_CHANNELS}:
        chosen = frozenset(_found(guild.get_channel, ids))
    else:
        chosen = next(iter(_found(guild.get_channel, ids)), None)
        if chosen is not None:
            _check_may_post(guild, chosen)
    return lambda settings: replace(settings, **{part.value: chosen})


def _switch(interaction: discord.Interaction[Any], part: Part, *, on: bool) -> Update:
    """Turn a part on or off. Raises `Refusal` if what it asks for isn't possible."""
    if on and part is Part.SPOKEN_CONSENT and not interaction.client.studio.backend.hears:
        raise Refusal(Reason.NOTHING_WOULD_BE_HEARD)
    turned: dict[str, Any] = {part.value: on}
    return lambda settings: replace(settings, **turned)


def _found(find: Callable[[int], object | None], ids: list[int]) -> list[int]:
    """The same ids, if all of them are found in the server. Raises `Refusal` otherwise."""
    if any(find(each) is None for each in ids):
        raise Refusal(Reason.CHOICE_GONE)
    return ids


def _check_may_post(guild: discord.Guild, channel_id: int) -> None:
    channel = guild.get_channel(channel_id)
    assert channel is not None  # noqa: S101 - it was found
    mine = channel.permissions_for(guild.me)
    if not (mine.view_channel and mine.send_messages and mine.embed_links):
        raise Refusal(Reason.MAY_NOT_POST_THERE, channel=channel.mention)


def _limits(written: dict[str, str], limits: Limits) -> Update:
    """Read the form. Raises `Refusal` if it holds something else than lower limits."""
    read: dict[str, Any] = {}
    for field in LIMIT_FIELDS:
        typed, highest = written.get(field.name, "").strip(), getattr(limits, field.name)
        if not typed:
            read[field.name] = None
            continue
        if not (typed.isascii() and typed.isdecimal() and 0 < int(typed) < 10**MAX_DIGITS):
            raise Refusal(Reason.LIMIT_NOT_A_NUMBER)
        amount = int(typed) * field.unit
        if highest is not None and amount > highest:
            limit = field.shown(highest)
            raise Refusal(Reason.LIMIT_TOO_HIGH, what=field.title, limit=limit)
        read[field.name] = amount
    return lambda settings: replace(settings, **read)


def _guild_of(interaction: discord.Interaction[Any]) -> discord.Guild:
    """The server. Raises `Refusal` while the bot doesn't know its channels and roles."""
    guild = interaction.guild
    if guild is None or guild.unavailable:
        raise Refusal(Reason.SERVER_NOT_SEEN)
    return guild
