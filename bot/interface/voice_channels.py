"""Speech in a voice channel: which channel, how far it is for who asked for it, and the queue."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import discord

from bot.errors import Reason, Refusal
from bot.interface import cards
from bot.interface.options import Where
from bot.interface.wording import as_text, excerpt, voice_name
from bot.playback.permissions import VocalChannel, check_can_speak_in, people_in

if TYPE_CHECKING:
    from bot.interface.progress import Progress
    from bot.playback.player import GuildPlayer
    from bot.playback.players import GuildPlayers
    from bot.playback.queue import QueueEntry, QueuePosition

ENTRIES_PER_PAGE = 5
"""So many fit into a message, 2,000 characters, even if every character of theirs is escaped."""

_POLL_SECONDS = 0.5
_EXCERPT_CHARACTERS = 80
_A_MOMENT_SECONDS = 2.0
_MINUTE_SECONDS = 60.0


def voice_channel_of(person: discord.User | discord.Member) -> VocalChannel | None:
    """The voice channel that a person is in, if any."""
    state = person.voice if isinstance(person, discord.Member) else None
    return state.channel if state is not None else None


def channel_to_speak_in(
    person: discord.User | discord.Member, players: GuildPlayers
) -> VocalChannel:
    """The voice channel of a person. Raises `Refusal` if the bot cannot be heard there."""
    channel = voice_channel_of(person)
    if channel is None:
        raise Refusal(Reason.JOIN_FIRST_OR_FILE)
    check_not_elsewhere(players.find(channel.guild.id), channel)
    check_can_speak_in(channel)
    return channel


def check_not_elsewhere(player: GuildPlayer | None, channel: VocalChannel) -> None:
    """Raise `Refusal` if people listen to the bot in another channel."""
    elsewhere = player.connection.channel if player is not None else None
    if elsewhere is not None and elsewhere != channel and people_in(elsewhere):
        raise Refusal(Reason.IN_ANOTHER_CHANNEL, channel=elsewhere.mention)


def where_to_speak(
    person: discord.User | discord.Member,
    players: GuildPlayers,
    wanted: str | None,
    *,
    file_wanted: bool,
) -> Where:
    """Where speech goes. Raises `Refusal` if the bot cannot be heard where that is wanted.

    Args:
        person: Who wants to be heard.
        players: The bot's.
        wanted: What the person chose. By default it is the voice channel, if the bot can be heard
            there.
        file_wanted: The person chose a kind of file, so that a file is the default.
    """
    if wanted == Where.FILE or (wanted is None and file_wanted):
        return Where.FILE
    try:
        channel_to_speak_in(person, players)
    except Refusal:
        if wanted is None:
            return Where.FILE
        raise
    return Where(wanted or Where.VOICE)


async def follow(entry: QueueEntry, player: GuildPlayer, progress: Progress) -> None:
    """Show how far an entry is until it was heard; if this is cancelled, remove it.

    Raises what kept it from being heard.
    """
    heard = asyncio.ensure_future(entry.heard())
    shown = ""
    try:
        while not heard.done():
            words = _state_of(entry, player)
            if words != shown:
                shown = words
                progress.say(words)
            await asyncio.wait([heard], timeout=_POLL_SECONDS)
        await heard
    finally:
        heard.cancel()
        player.remove(entry, Refusal(Reason.SPEECH_STOPPED))


def queue_page(player: GuildPlayer | None, page: int) -> tuple[str, int]:
    """One page of what a guild's player has to say, and how many pages there are."""
    positions = player.positions() if player is not None else []
    if not positions:
        return "Nothing is playing or queued. Use `/say` while you're in a voice channel.", 1
    pages = -(-len(positions) // ENTRIES_PER_PAGE)
    lines = [_line(each) for each in positions[page * ENTRIES_PER_PAGE :][:ENTRIES_PER_PAGE]]
    if pages > 1:
        lines.append(f"Page {page + 1} of {pages}.")
    return "\n".join(lines), pages


def _line(position: QueuePosition) -> str:
    entry = position.entry
    who = f"{voice_name(entry.speaker)} for {as_text(entry.owner_name)}"
    what = excerpt(entry.text, max_characters=_EXCERPT_CHARACTERS)
    if position.number == 0:
        return f"**Now**: {who}, “{what}” · {_length(entry.seconds_left)} left"
    start = discord.utils.utcnow() + timedelta(seconds=position.starts_in)
    return f"{position.number}. {who}, “{what}” · {discord.utils.format_dt(start, 'R')}"


def _state_of(entry: QueueEntry, player: GuildPlayer) -> str:
    position = player.position_of(entry)
    if position is None:
        return "Almost done…"
    if position.number > 0:
        return f"Number {position.number} in the queue, starts {_soon(position.starts_in)}"
    if not player.connection.is_audible:
        return "Waiting for a moderator to let me speak…"
    if entry.source.position == 0:
        return "Getting ready to speak…"
    return cards.speaking(entry.sentence, entry.sentences)


def _soon(seconds: float) -> str:
    return "in a moment" if seconds < _A_MOMENT_SECONDS else f"in about {_length(seconds)}"


def _length(seconds: float) -> str:
    if seconds < _MINUTE_SECONDS:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / _MINUTE_SECONDS)} min"
