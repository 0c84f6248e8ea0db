"""`/say`: speak with a saved voice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from backend.contract import AUTO_LANGUAGE, SpeechError
from bot.client import Interaction, VoiceBot
from bot.errors import Reason, Refusal
from bot.guilds.access import Action, Actor
from bot.guilds.records import AuditAction, WorkKind
from bot.interface import cards, voice_channels
from bot.interface.attachment import ReplyFormat
from bot.interface.attribution import PublicWords
from bot.interface.mentions import resolve_names
from bot.interface.options import (
    FORMAT_CHOICES,
    LANGUAGE_CHOICES,
    MAX_SPEED,
    MIN_SPEED,
    WHERE_CHOICES,
    CommandOrder,
    OrderedCommand,
    Where,
    caller_of,
    suggest_voices,
)
from bot.interface.progress import Progress
from bot.interface.reply import Reply
from bot.playback.player import GuildPlayer
from bot.playback.queue import QueueEntry
from bot.streaming import SharedStream, Speech, collect, leveled
from bot.text import MAX_TEXT_CHARACTERS, expected_seconds, spoken_seconds, with_names
from bot.voice_access import asker_of
from bot.voices.records import SavedVoice
from bot.voices.rights import MAX_REFERENCE_CHARACTERS


class Say(commands.Cog):
    """From text to speech."""

    def __init__(self, bot: VoiceBot) -> None:
        self.bot = bot
        self._order = CommandOrder()

    @app_commands.command(description="Say something with your voice, or one shared with you")
    @app_commands.describe(
        text="What the voice should say",
        voice="Yours, or one shared with you here; leave it out for the one you used last",
        where="Leave it out: I speak in your voice channel if you're in one, otherwise as a file",
        language="The language of the text; leave it out for the one the voice was made with",
        format="Post a file of this kind. With a voice channel in `where`, I do both",
        speed="From 0.5 (half as fast) to 2 (twice as fast); leave it out for the voice's own",
    )
    @app_commands.choices(language=LANGUAGE_CHOICES, format=FORMAT_CHOICES, where=WHERE_CHOICES)
    @app_commands.autocomplete(voice=suggest_voices)
    async def say(  # noqa: PLR0913, PLR0917 - the options of the slash command
        self,
        interaction: Interaction,
        text: app_commands.Range[str, 1, MAX_TEXT_CHARACTERS],
        voice: app_commands.Range[str, 1, MAX_REFERENCE_CHARACTERS] | None = None,
        where: str | None = None,
        language: str | None = None,
        format: str | None = None,  # noqa: A002 - the option's name in Discord
        speed: app_commands.Range[float, MIN_SPEED, MAX_SPEED] | None = None,
    ) -> None:
        """Speak sentence by sentence, and post one file, or be heard in the voice channel."""
        studio, owner = self.bot.studio, interaction.user
        last_dismissal = self.bot.players.last_dismissal(interaction.guild_id)
        with self._order.command(owner.id) as command:
            async with self.bot.reply(interaction, Action.SPEAK) as reply:
                allowed = await self.bot.policy.channels_to_speak_in(reply.actor)
                target = voice_channels.where_to_speak(
                    owner,
                    self.bot.players,
                    where,
                    allowed=allowed,
                    file_wanted=format is not None,
                    by_default=self.bot.speaks_by_default,
                )
                if target is Where.FILE:
                    command.release()
                saved = await self._voice(reply.actor, voice)
                reply.voice_id = saved.id
                language = language or saved.language or AUTO_LANGUAGE
                speed = speed or saved.speed
                name_of = await resolve_names(interaction, text)
                spoken_for = await self.bot.dictionaries.spoken_for(owner.id, interaction.guild_id)
                sentences = await studio.script(
                    text, language=language, name_of=name_of, spoken_for=spoken_for
                )
                shown = with_names(text, name_of=name_of)
                count, caller = len(sentences), caller_of(interaction)
                kind = WorkKind.LIVE if target is Where.VOICE else WorkKind.REQUEST
                work = await reply.begin(kind, spoken_seconds(sentences))
                production = studio.production(sentences, on_speech=work.made)
                speak = partial(
                    studio.stream,
                    sentences,
                    saved,
                    language=language,
                    caller=caller,
                    production=production,
                    speed=speed,
                )
                reply_format = ReplyFormat(format) if format else ReplyFormat.OGG
                post = partial(self._post, reply, saved, shown, count, reply_format)
                if target is Where.FILE:
                    if error := await post(partial(collect, speak())):
                        raise error
                    await reply.finish()
                    return

                shared = SharedStream(speak()) if target is Where.BOTH else None
                make_entry = partial(
                    QueueEntry,
                    owner_id=owner.id,
                    voice_id=saved.id,
                    voice_owner_id=saved.owner_id,
                    speaker=saved.name,
                    text=shown,
                    sentences=count,
                    speech=lambda: leveled(shared.follow() if shared is not None else speak()),
                    expected_seconds=expected_seconds(sentences, speed=speed),
                    production=production,
                    owner=owner if isinstance(owner, discord.Member) else None,
                )
                player, entry = await self._enqueue(
                    interaction,
                    command,
                    make_entry,
                    allowed=allowed,
                    last_dismissal=last_dismissal,
                )
                is_posted = False
                attribute = partial(self.bot.live_attributions.say, entry)
                try:
                    # Whoever deletes the voice from now on finds the entry in the queue.
                    await self._touch(reply, saved)
                    self.bot.policy.audit.note_own(
                        AuditAction.SPOKE_VOICE,
                        reply.actor,
                        saved.id,
                        owner_id=saved.owner_id,
                        text=shown,
                    )
                    if shared is not None:
                        # An error comes to whoever follows, too.
                        await post(shared.collect, heard=(entry, player))
                        is_posted = True
                    await self._follow(
                        reply, player, entry, on_begun=(lambda: None) if is_posted else attribute
                    )
                finally:
                    player.remove(entry, Refusal(Reason.SPEECH_STOPPED))
                    if entry.spoken is not None and not is_posted:
                        attribute()

    async def _post(  # noqa: PLR0913, PLR0917 - what is posted, and what is said about it
        self,
        reply: Reply,
        saved: SavedVoice,
        text: str,
        sentences: int,
        reply_format: ReplyFormat,
        collect_speech: Callable[..., Coroutine[Any, Any, Speech]],
        *,
        heard: tuple[QueueEntry, GuildPlayer] | None = None,
    ) -> SpeechError | Refusal | None:
        """Collect the speech for a file, and post it where all can see it.

        Args:
            reply: The command's.
            saved: The voice.
            text: What is said, as it is shown.
            sentences: How many sentences that is.
            reply_format: The kind of file.
            collect_speech: Returns the speech.
            heard: By which entry, of which player, it is heard as well.

        Returns why it ends before the text does, or None if it doesn't.
        """

        async def collected(progress: Progress) -> Speech:
            collecting = collect_speech(on_sentence=partial(progress.sentence, total=sentences))
            if heard is None:
                return await collecting
            remarks = asyncio.create_task(voice_channels.remark_lateness(*heard, progress))
            try:
                return await collecting
            finally:
                remarks.cancel()

        speech = await reply.work(collected)
        await self._touch(reply, saved)
        words = PublicWords.about(
            saved.name, reply.owner.id, text, speech, sentences, self.bot.studio.backend
        )
        posted: list[int] = []

        def note(message_id: int, channel_id: int, guild_id: int | None) -> None:
            voice, owner = saved.id, saved.owner_id
            self.bot.policy.posts.note(
                message_id,
                channel_id,
                guild_id,
                voice_id=voice,
                owner_id=owner,
                asker_id=reply.owner.id,
            )
            if not posted:
                self.bot.policy.audit.note_own(
                    AuditAction.SPOKE_FILE, reply.actor, saved.id, owner_id=owner, text=text
                )
            posted.append(message_id)

        await reply.post(words, speech, reply_format, on_posted=note)
        return speech.error

    async def _enqueue(
        self,
        interaction: Interaction,
        command: OrderedCommand,
        make_entry: Callable[..., QueueEntry],
        *,
        allowed: frozenset[int],
        last_dismissal: Exception | None,
    ) -> tuple[GuildPlayer, QueueEntry]:
        """Join the person's voice channel, and add to its queue. Raises `Refusal`.

        Args:
            interaction: The command.
            command: Its place among those of that person.
            make_entry: Makes the entry for a `channel_id`.
            allowed: Where the bot may speak, see `voice_channels.channel_to_speak_in`.
            last_dismissal: The player's when the command began. Whoever sends the bot away while
                the command waits, for Discord or for others, ends it too.
        """
        person, players = interaction.user, self.bot.players
        await command.wait_for_earlier()
        channel = voice_channels.channel_to_speak_in(person, players, allowed)

        def check() -> None:
            if isinstance(person, discord.Member):
                voice_channels.check_may_speak(person, channel, players)

        await players.join(channel, last_dismissal=last_dismissal, check=check)
        check()  # joining takes a while, in which somebody may have muted the person
        player = players.of(channel.guild.id)
        entry = make_entry(channel_id=channel.id)
        player.add(entry)
        command.release()
        return player, entry

    async def _follow(
        self,
        reply: Reply,
        player: GuildPlayer,
        entry: QueueEntry,
        *,
        on_begun: Callable[[], object],
    ) -> None:
        """Keep the private message up to date until the entry was heard.

        `on_begun` is called when it begins to be heard.
        """
        was_heard = await reply.work(
            lambda progress: voice_channels.follow(entry, player, progress, on_begun=on_begun),
            stopped=Reason.SPEECH_STOPPED,
        )
        where = voice_channels.place_for(reply.owner, entry.channel_id)
        backend = self.bot.studio.backend
        await reply.finish(cards.spoken_in(entry.speaker, where, backend, was_heard=was_heard))

    async def _voice(self, actor: Actor, reference: str | None) -> SavedVoice:
        """The voice that a person names, or else their default. Raises `Refusal`."""
        if reference is not None:
            return await self.bot.voice_access.find(actor, reference)
        return (await self.bot.voice_access.default(actor)).voice

    async def _touch(self, reply: Reply, voice: SavedVoice) -> None:
        """Note that a voice is used now. Raises `Refusal` if it is gone, or may not be used now."""
        await self.bot.voice_access.check_still(reply.actor, voice)
        self.bot.library.defaults.touch(voice, asker_of(reply.actor))


async def setup(bot: VoiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    await bot.add_cog(Say(bot))
