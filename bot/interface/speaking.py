"""Speech for a voice channel: where it goes, how the one who asked for it follows it, the queue."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

import discord
from discord import app_commands

from bot.errors import Refusal
from bot.interface import wording
from bot.playback.permissions import VocalChannel, check_can_speak_in, people_in

if TYPE_CHECKING:
    from bot.client import VoiceBot
    from bot.interface.progress import Progress
    from bot.playback.player import GuildPlayer, Place
    from bot.playback.queue import QueuedItem

STOPPED_SPEAKING = "Stopped, as you asked."
ITEMS_PER_PAGE = 5
"""So many fit into a message, 2,000 characters, even if every character of theirs is escaped."""

_LOOK_SECONDS = 0.5
_EXCERPT_CHARACTERS = 80
_A_MOMENT_SECONDS = 2.0
_MINUTE_SECONDS = 60.0


class Where(StrEnum):
    """Where speech can go. The value is the slash command's."""

    VOICE = "voice"
    FILE = "file"
    BOTH = "both"


WHERE_CHOICES = [
    app_commands.Choice(name="Voice channel", value=Where.VOICE.value),
    app_commands.Choice(name="File in this channel", value=Where.FILE.value),
    app_commands.Choice(name="Both", value=Where.BOTH.value),
]


def voice_channel_of(person: discord.User | discord.Member) -> VocalChannel | None:
    """The voice channel that a person is in, if any."""
    state = person.voice if isinstance(person, discord.Member) else None
    return state.channel if state is not None else None


def channel_to_speak_in(interaction: discord.Interaction[VoiceBot]) -> VocalChannel:
    """The voice channel of the person. Raises `Refusal` if the bot cannot be heard there."""
    channel = voice_channel_of(interaction.user)
    if channel is None:
        raise Refusal("Join a voice channel first, or use `/say` with `where: file`.")
    check_not_elsewhere(interaction.client.players.find(channel.guild.id), channel)
    check_can_speak_in(channel)
    return channel


def check_not_elsewhere(player: GuildPlayer | None, channel: VocalChannel) -> None:
    """Raise `Refusal` if people listen to the bot in another channel."""
    elsewhere = player.connection.channel if player is not None else None
    if elsewhere is not None and elsewhere != channel and people_in(elsewhere):
        raise Refusal(
            f"I am with the people in {elsewhere.mention} now. "
            "Join me there, or use `/say` with `where: file`."
        )


def usual_place(interaction: discord.Interaction[VoiceBot]) -> Where:
    """Where speech goes if the person did not say: the voice channel, if it can be heard there."""
    if voice_channel_of(interaction.user) is None:
        return Where.FILE
    try:
        channel_to_speak_in(interaction)
    except Refusal:
        return Where.FILE
    return Where.VOICE


async def follow(item: QueuedItem, player: GuildPlayer, progress: Progress) -> None:
    """Show how far an item has come until it was heard; if this is cancelled, take it out.

    Raises what kept it from being heard.
    """
    heard = asyncio.ensure_future(item.heard())
    shown = ""
    try:
        while not heard.done():
            words = _state_of(item, player)
            if words != shown:
                shown = words
                progress.say(words)
            await asyncio.wait([heard], timeout=_LOOK_SECONDS)
        await heard
    finally:
        heard.cancel()
        player.remove(item, Refusal(STOPPED_SPEAKING))


def heard_message(speaker: str, channel: VocalChannel | None, *, notice: str | None) -> str:
    """The private words after something was heard in a voice channel."""
    where = channel.mention if channel is not None else "the voice channel"
    words = f"{wording.voice_name(speaker)} has spoken in {where}."
    return f"{words}\n-# {notice}" if notice else words


def queue_page(player: GuildPlayer | None, page: int) -> tuple[str, int]:
    """One page of what a guild's player has to say, and how many pages there are."""
    places = player.places() if player is not None else []
    if player is None or not places:
        return "Nothing is waiting to be said. Use `/say` while you are in a voice channel.", 1
    pages = -(-len(places) // ITEMS_PER_PAGE)
    shown = places[page * ITEMS_PER_PAGE :][:ITEMS_PER_PAGE]
    lines = [_line(place) for place in shown]
    if pages > 1:
        lines.append(f"Page {page + 1} of {pages}.")
    return "\n".join(lines), pages


def _line(place: Place) -> str:
    item = place.item
    who = f"{wording.voice_name(item.speaker)} for {wording.as_text(item.owner_name)}"
    what = wording.excerpt(item.text, max_characters=_EXCERPT_CHARACTERS)
    if place.number == 0:
        return f"**Now**: {who}, “{what}” · {_length(item.seconds_left)} left"
    start = discord.utils.utcnow() + timedelta(seconds=place.starts_in)
    return f"{place.number}. {who}, “{what}” · {discord.utils.format_dt(start, 'R')}"


def _state_of(item: QueuedItem, player: GuildPlayer) -> str:
    place = player.place_of(item)
    if place is None:
        return "Almost done…"
    if place.number > 0:
        return f"Number {place.number} in the queue, starts {_soon(place.starts_in)}"
    if not player.connection.is_audible:
        return "Waiting for a moderator to let me speak…"
    if item.source.position == 0:
        return "Getting ready to speak…"
    return wording.speaking(item.sentence, item.sentences)


def _soon(seconds: float) -> str:
    return "in a moment" if seconds < _A_MOMENT_SECONDS else f"in about {_length(seconds)}"


def _length(seconds: float) -> str:
    if seconds < _MINUTE_SECONDS:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / _MINUTE_SECONDS)} min"
