"""Speech in a voice channel: which channel, how far it is for who asked for it, and the queue."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import discord

from bot.errors import Reason, Refusal
from bot.interface import cards
from bot.interface.attribution import Attribution
from bot.interface.options import Where
from bot.interface.typed_text import quoted
from bot.interface.wording.sentences import said_late
from bot.playback.permissions import (
    VocalChannel,
    check_can_speak_in,
    is_afk,
    listeners_in,
    may_move,
    may_see,
    people_in,
    why_silent,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.interface.progress import Progress
    from bot.playback.player import GuildPlayer
    from bot.playback.players import GuildPlayers
    from bot.playback.queue import QueueEntry, QueuePosition

ENTRIES_PER_PAGE = 4
"""So many fit into a message, 2,000 characters, even if every character of theirs is escaped."""

_POLL_SECONDS = 0.5
_EXCERPT_CHARACTERS = 80
_A_MOMENT_SECONDS = 2.0
HIDDEN_QUEUE = "I'm speaking in a voice channel you can't see, so I can't show you its queue."

_UNNAMED = "the voice channel"

_STEADY_SECONDS = 5.0
"""A countdown that was shown stays, unless it is wrong by more than this."""

LATE_SECONDS = 1.0
"""If speech begins or goes on within this, nothing is said of it."""

_STEADY_WAIT_SECONDS, _STEADY_WAIT_SHARE = 2.0, 0.25
"""A wait that was told stays, unless it is wrong by more than this, or by such a share of it."""

_SILENCED = {
    Reason.MEMBER_MUTED,
    Reason.MEMBER_IN_AUDIENCE,
    Reason.MEMBER_MAY_NOT_SPEAK,
    Reason.MEMBER_TIMED_OUT,
}


def voice_channel_of(person: discord.User | discord.Member) -> VocalChannel | None:
    """The voice channel that a person is in, if any."""
    state = person.voice if isinstance(person, discord.Member) else None
    return state.channel if state is not None else None


def channel_to_speak_in(
    person: discord.User | discord.Member, players: GuildPlayers, allowed: frozenset[int]
) -> VocalChannel:
    """The voice channel of a person.

    Raises `Refusal` if the person may not speak there, or the bot cannot be heard there.

    Args:
        person: Who wants to be heard.
        players: The bot's.
        allowed: The ids of the voice channels in which the server's admins let the bot speak; empty
            for all.
    """
    channel = voice_channel_of(person)
    if channel is None or not isinstance(person, discord.Member):
        check_knows_voice(person)
        raise Refusal(Reason.JOIN_FIRST_OR_FILE)
    check_may_speak(person, channel, players)
    _check_allowed(channel, allowed)
    check_can_speak_in(channel)
    return channel


def channel_to_join(person: discord.User | discord.Member, allowed: frozenset[int]) -> VocalChannel:
    """The voice channel that a person calls the bot into.

    Raises `Refusal` if there is none, or it is not one of the `allowed`, of which none means all.
    """
    channel = voice_channel_of(person)
    if channel is None:
        check_knows_voice(person)
        raise Refusal(Reason.JOIN_FIRST)
    _check_allowed(channel, allowed)
    return channel


def _check_allowed(channel: VocalChannel, allowed: frozenset[int]) -> None:
    if allowed and channel.id not in allowed:
        listed = " ".join(str(each) for each in sorted(allowed))
        raise Refusal(Reason.NOT_IN_THIS_VOICE_CHANNEL, channels=listed)


def check_knows_voice(person: discord.User | discord.Member) -> None:
    """Raise `Refusal` if the bot is reconnecting, and doesn't know who is in voice.

    Until Discord has sent a person's server again, discord.py has a stub of it. It has no channels,
    and nobody is in voice there.
    """
    if isinstance(person, discord.Member) and person.guild.unavailable:
        raise Refusal(Reason.RECONNECTING)


def check_may_speak(person: discord.Member, channel: VocalChannel, players: GuildPlayers) -> None:
    """Raise `Refusal` if a person may not speak in a channel, or others listen to the bot."""
    reason = why_silent(channel, person.id, person)
    if reason is not None:
        raise Refusal(reason)
    _check_not_elsewhere(person, channel, players)


def check_may_call(person: discord.Member, channel: VocalChannel, players: GuildPlayers) -> None:
    """Raise `Refusal` if a person may not have the bot come into a channel.

    Whoever has the permission Move Members may, even if others listen to the bot elsewhere.
    """
    player = players.find(channel.guild.id)
    here = player.connection.channel if player is not None else None
    if here is None or not may_move(person, here):
        _check_not_elsewhere(person, channel, players)


def name_for(person: discord.User | discord.Member, channel: VocalChannel | None) -> str:
    """A channel's mention, or other words for a person who may not know of it."""
    return channel.mention if channel is not None and may_see(person, channel) else _UNNAMED


def place_for(person: discord.User | discord.Member, channel_id: int) -> str:
    """Like `name_for`, for the voice channel with an id, which may be gone."""
    channel = person.guild.get_channel(channel_id) if isinstance(person, discord.Member) else None
    return name_for(person, channel if isinstance(channel, VocalChannel) else None)


def _check_not_elsewhere(
    person: discord.Member, channel: VocalChannel, players: GuildPlayers
) -> None:
    """Raise `Refusal` if people listen to the bot in another channel."""
    player = players.find(channel.guild.id)
    elsewhere = player.connection.channel if player is not None else None
    if elsewhere is None or elsewhere == channel or not people_in(elsewhere) or is_afk(elsewhere):
        return
    if not may_see(person, elsewhere):
        raise Refusal(Reason.IN_HIDDEN_CHANNEL)
    raise Refusal(Reason.IN_ANOTHER_CHANNEL, channel=elsewhere.mention)


def where_to_speak(  # noqa: PLR0913 - what a person chose, and what decides besides
    person: discord.User | discord.Member,
    players: GuildPlayers,
    wanted: str | None,
    *,
    allowed: frozenset[int],
    file_wanted: bool,
    by_default: Where,
) -> Where:
    """Where speech goes. Raises `Refusal` if the bot cannot be heard where that is wanted.

    Args:
        person: Who wants to be heard.
        players: The bot's.
        wanted: What the person chose. A person who may not speak in their voice channel has to
            choose.
        allowed: As in `channel_to_speak_in`.
        file_wanted: The person chose a kind of file. They get one, and by default that alone.
        by_default: Where it goes if the person chose nothing and the bot can be heard in their
            voice channel. If it can't be heard there, a file is the default.
    """
    if wanted == Where.FILE or (wanted is None and file_wanted):
        return Where.FILE
    try:
        channel_to_speak_in(person, players, allowed)
    except Refusal as refusal:
        if wanted is None and refusal.reason not in _SILENCED:
            return Where.FILE
        raise
    where = Where(wanted or by_default)
    return Where.BOTH if where is Where.VOICE and file_wanted else where


async def follow(
    entry: QueueEntry, player: GuildPlayer, progress: Progress, *, on_begun: Callable[[], object]
) -> bool:
    """Show how far an entry is until it was played; if this is cancelled, remove it.

    `on_begun` is called when it begins to be heard.

    Returns whether anybody could hear it: False if everybody in the channel was deafened, or had
    left, whenever that was looked at. Raises what kept it from being played.
    """
    audience: set[bool] = set()
    heard = asyncio.ensure_future(entry.heard())
    state = EntryState(entry, player)
    shown = ""
    has_begun = False
    try:
        while not heard.done():
            words = state.words()
            if words != shown:
                shown = words
                progress.say(words)
            await asyncio.wait([heard], timeout=_POLL_SECONDS)
            if entry.source.position > 0 and not has_begun:
                has_begun = True
                on_begun()
            channel = player.connection.channel
            if entry.source.position > 0 and channel is not None and not channel.guild.unavailable:
                audience.add(bool(listeners_in(channel)))
        await heard
        return audience != {False}
    finally:
        heard.cancel()
        player.remove(entry, Refusal(Reason.SPEECH_STOPPED))


async def remark_lateness(entry: QueueEntry, player: GuildPlayer, progress: Progress) -> None:
    """Show when an entry begins or goes on whenever its speech is late, until this is cancelled."""
    state = EntryState(entry, player)
    while True:
        progress.remark(state.late_words())
        await asyncio.sleep(_POLL_SECONDS)


def queue_page(
    player: GuildPlayer | None, person: discord.User | discord.Member, page: int
) -> tuple[str, int]:
    """One page of what a guild's player has to say, and how many pages there are.

    Of a channel that the person can't see, it shows nothing but the person's own items. Raises
    `Refusal` if the bot is reconnecting, and doesn't know who sees what.
    """
    check_knows_voice(person)
    waiting = player.positions() if player is not None else []
    channel = player.connection.channel if player is not None else None
    sees_all = channel is not None and may_see(person, channel)
    positions = [each for each in waiting if sees_all or each.entry.owner_id == person.id]
    if not positions:
        if waiting:
            return HIDDEN_QUEUE, 1
        return "Nothing is playing or queued. Use `/say` while you're in a voice channel.", 1
    pages = -(-len(positions) // ENTRIES_PER_PAGE)
    lines = [_line(each) for each in positions[page * ENTRIES_PER_PAGE :][:ENTRIES_PER_PAGE]]
    if pages > 1:
        lines.append(f"Page {page + 1} of {pages}.")
    return "\n".join(lines), pages


def _line(position: QueuePosition) -> str:
    entry = position.entry
    who = Attribution(entry.speaker, entry.owner_id, entry.message, entry.voice_owner_id)
    what = quoted(entry.text, max_characters=_EXCERPT_CHARACTERS)
    if position.number == 0:
        return f"**Now**: {who}: {what} · ends {_countdown(position.ends_in)}"
    return f"{position.number}. {who}: {what} · {_countdown(position.starts_in)}"


def _countdown(seconds: float) -> str:
    """A moment so many seconds from now, which Discord's clients show as a countdown."""
    return discord.utils.format_dt(discord.utils.utcnow() + timedelta(seconds=seconds), "R")


class _Countdown:
    """The moment at which an entry starts. It changes only when the estimate does."""

    def __init__(self) -> None:
        self._start: float | None = None  # by `time.monotonic`
        self._shown = ""

    def words(self, seconds: float) -> str:
        """When an entry starts, given the latest estimate of the seconds until then."""
        if seconds < _A_MOMENT_SECONDS:
            self._start = None
            return "in a moment"
        start = time.monotonic() + seconds
        if self._start is None or abs(start - self._start) > _STEADY_SECONDS:
            self._start, self._shown = start, _countdown(seconds)
        return self._shown


class _Wait:
    """In how many seconds speech begins or goes on. It is corrected only if it is far off."""

    def __init__(self) -> None:
        self._end: float | None = None  # by `time.monotonic`

    def seconds(self, estimate: float) -> float:
        """Return the seconds that are left, given the latest estimate."""
        now = time.monotonic()
        off = max(_STEADY_WAIT_SECONDS, _STEADY_WAIT_SHARE * estimate)
        if self._end is None or abs(now + estimate - self._end) > off:
            self._end = now + estimate
        return self._end - now


class EntryState:
    """What the owner of an entry is shown of it until it was played."""

    def __init__(self, entry: QueueEntry, player: GuildPlayer) -> None:
        self._entry = entry
        self._player = player
        self._countdown = _Countdown()
        self._wait = _Wait()

    def words(self) -> str:
        """What the entry is doing now."""
        entry, player = self._entry, self._player
        position = player.position_of(entry)
        if position is None:
            return "Almost done…"
        if position.number > 0:
            start = self._countdown.words(position.starts_in)
            return f"Number {position.number} in the queue, starts {start}"
        if not player.connection.is_audible:
            return "Waiting for a moderator to let me speak…"
        late = self.late_words()
        if entry.source.position == 0:
            return late or "Getting ready to speak…"
        spoken = cards.speaking(entry.sentence, entry.sentences)
        return f"{spoken}\n{late}" if late else spoken

    def late_words(self) -> str | None:
        """When it begins or goes on, if its speech comes so slowly that it has to wait."""
        entry = self._entry
        if self._player.current is not entry or entry.wait < LATE_SECONDS:
            return None
        seconds = self._wait.seconds(entry.wait)
        return said_late(seconds, has_begun=entry.source.position > 0)
