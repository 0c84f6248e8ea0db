"""Telling a person something, even if the token of their command has ended."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import aiohttp
import discord
import structlog

from bot.errors import Reason, Refusal
from bot.interface.delivery.tokens import has_token, says_token_ended
from bot.interface.wording.sentences import UNTOLD, link_commands

log = structlog.get_logger(__name__)

Interaction = discord.Interaction[Any]

DISCORD_FAILURES = (discord.HTTPException, aiohttp.ClientError, OSError)
"""What a request to Discord may raise: its refusals, and a connection that breaks."""

SECONDS_TO_NEXT_TRY = (1.0, 3.0, 10.0, 20.0, 30.0, 60.0)
"""How long to wait before somebody is told again, if Discord couldn't be reached. A connection to a
voice channel is given up after about a minute without a network, and the network may come later."""


async def show_privately(
    interaction: Interaction,
    content: str | None,
    *,
    embed: discord.Embed | None = None,
    view: discord.ui.View | None = None,
) -> None:
    """Replace the private message; if the interaction's token has ended, tell the person anyhow.

    That is by a direct message. If they take none, a message in the channel says that there is
    something to tell, and nothing of what it is. While Discord can't be reached, it is tried again.
    """
    content = content and with_links(interaction, content)
    if embed is not None:
        link_in_embed(interaction, embed)
    for pause in (*SECONDS_TO_NEXT_TRY, None):
        if not has_token(interaction):
            break
        try:
            await interaction.edit_original_response(content=content, embed=embed, view=view)
        except DISCORD_FAILURES as error:
            log.warning("private answer refused", reason=repr(error))
            if says_token_ended(interaction, error):
                break
            if isinstance(error, discord.HTTPException) or pause is None:
                return
            await asyncio.sleep(pause)
        else:
            return
    try:
        missing = discord.utils.MISSING
        await interaction.user.send(content, embed=embed or missing, view=view or missing)
    except DISCORD_FAILURES as error:
        log.warning("private answer refused", reason=repr(error))
        await _say_in_channel(interaction, UNTOLD)


async def send_privately(
    interaction: Interaction, name: str, data: bytes, *, not_sent: Reason
) -> None:
    """Send a file that only the person sees, below the private message.

    That gets other words first, for the same reason as before speech is posted (`posting.py`), and
    keeps its buttons.
    Raises `Refusal` if Discord doesn't take it.

    Args:
        interaction: The command.
        name: The file's name.
        data: The file's bytes.
        not_sent: The reason of that refusal.
    """
    if has_token(interaction):
        try:
            await interaction.edit_original_response(content="Sending…")
            file = discord.File(io.BytesIO(data), filename=name)
            await interaction.followup.send(file=file, ephemeral=True)
        except DISCORD_FAILURES as error:
            says_token_ended(interaction, error)
            log.warning("private file refused", reason=repr(error))
        else:
            return
    raise Refusal(not_sent)


def with_links(interaction: Interaction, words: str) -> str:
    """The words with Discord's links to the commands that they name."""
    return link_commands(words, interaction.client.command_ids)


def link_in_embed(interaction: Interaction, embed: discord.Embed) -> None:
    """Put Discord's links to the commands that an embed names into it."""
    embed.description = embed.description and with_links(interaction, embed.description)
    for index, field in enumerate(embed.fields):
        value = with_links(interaction, field.value or "")
        embed.set_field_at(index, name=field.name, value=value, inline=field.inline)


async def delete_private_message(interaction: Interaction) -> None:
    """Delete the private message: the public result says everything."""
    if not has_token(interaction):
        return
    try:
        await interaction.delete_original_response()
    except DISCORD_FAILURES as error:
        log.debug("private message stays", reason=repr(error))


def may_post(interaction: Interaction, *, files: bool = False) -> bool:
    """Whether the bot may post an ordinary message in the interaction's channel.

    Discord counts refused tries, so what would be refused is not tried.
    """
    if interaction.guild_id is None:
        return True
    allowed = interaction.app_permissions
    in_thread = isinstance(interaction.channel, discord.Thread)
    may_send = allowed.send_messages_in_threads if in_thread else allowed.send_messages
    return allowed.view_channel and may_send and (allowed.attach_files or not files)


async def _say_in_channel(interaction: Interaction, words: str) -> None:
    """Post words in the interaction's channel, with a mention of who used the command."""
    channel, person = interaction.channel, interaction.user
    if not isinstance(channel, discord.abc.Messageable) or not may_post(interaction):
        return
    try:
        await channel.send(f"{person.mention} {words}", allowed_mentions=mention_of(person))
    except DISCORD_FAILURES as error:
        log.warning("private answer lost", reason=repr(error))


def mention_of(person: discord.User | discord.Member) -> discord.AllowedMentions:
    """Let a message ping that person, and nobody else."""
    return discord.AllowedMentions(users=[person], everyone=False, roles=False)


def has_code(error: BaseException, *codes: int) -> bool:
    """Whether Discord refused a request with one of these codes."""
    return isinstance(error, discord.HTTPException) and error.code in codes
