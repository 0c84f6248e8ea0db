"""Carries out what people want to have said: as a file in the channel, or heard in a call."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import discord

from bot.errors import Reason, Refusal
from bot.guilds.access import Action
from bot.guilds.records import AuditAction, WorkKind
from bot.interface import cards, voice_channels
from bot.interface.again_button import again_view
from bot.interface.attribution import PublicWords, source_beside, text_beside
from bot.interface.delivery.attachment import ReplyFormat
from bot.interface.options import CommandOrder, Where
from bot.interface.reply import Reply
from bot.interface.typed_text import voice_name
from bot.interface.wording import sharing as sharing_wording
from bot.speaking.script import SayRequest, Scripts
from bot.speaking.speech import RequestedSpeech
from bot.text import spoken_seconds
from bot.voice_access import asker_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from backend.contract import SpeechError
    from bot.interface.again_button import AgainButton
    from bot.interface.live_attribution import LiveAttributions
    from bot.interface.options import OrderedCommand
    from bot.interface.progress import Progress
    from bot.interface.reply import Replies
    from bot.playback.player import GuildPlayer
    from bot.playback.players import GuildPlayers
    from bot.playback.queue import QueueEntry
    from bot.services import Services
    from bot.speaking.script import Script
    from bot.streaming import Speech
    from bot.voices.records import SavedVoice

Interaction = discord.Interaction[Any]


class Speaking:
    """Has voices say what people ask for. The command, the menu and the button all come here.

    Args:
        services: What every front works with.
        replies: The commands that are being answered now.
        players: What speaks in voice channels.
        live_attributions: Tells voice channels who asked for what is heard there.
        by_default: Where members are heard who are in a voice channel and don't choose.
    """

    def __init__(
        self,
        services: Services,
        *,
        replies: Replies,
        players: GuildPlayers,
        live_attributions: LiveAttributions,
        by_default: Where,
    ) -> None:
        self._policy = services.policy
        self._voice_access = services.voice_access
        self._library = services.library
        self._studio = services.studio
        self._scripts = Scripts(services)
        self._replies = replies
        self._players = players
        self._live_attributions = live_attributions
        self._by_default = by_default
        self._order = CommandOrder()
        self._again: set[tuple[int, int]] = set()
        """Who has which message said again now."""

    async def say(self, interaction: Interaction, request: SayRequest) -> None:
        """Speak sentence by sentence, and post one file, or be heard in the voice channel."""
        last_dismissal = self._players.last_dismissal(interaction.guild_id)
        with self._order.command(interaction.user.id) as command:
            async with Reply(interaction, self._replies, Action.SPEAK) as reply:
                allowed = await self._policy.channels_to_speak_in(reply.actor)
                target = voice_channels.where_to_speak(
                    interaction.user,
                    self._players,
                    request.where,
                    allowed=allowed,
                    file_wanted=request.reply_format is not None,
                    by_default=self._by_default,
                )
                if target is Where.FILE:
                    command.release()
                voice = await self._scripts.voice(reply.actor, request)
                reply.voice_id = voice.id
                script = await self._scripts.script(interaction, request, voice)
                kind = WorkKind.LIVE if target is Where.VOICE else WorkKind.REQUEST
                work = await reply.begin(kind, spoken_seconds(script.sentences))
                speech = RequestedSpeech(script, self._studio, work, interaction)
                if target is Where.FILE:
                    if error := await self._post(reply, script, speech.collect):
                        raise error
                    await reply.finish()
                    return
                if target is Where.BOTH:
                    speech.share()
                player, entry = await self._enqueue(
                    interaction,
                    command,
                    speech.entry,
                    allowed=allowed,
                    last_dismissal=last_dismissal,
                )
                await self._be_heard(reply, script, speech, player, entry)

    async def say_again(self, interaction: Interaction, button: AgainButton) -> None:
        """Say the text of one of our messages once more, for whoever pressed its button."""
        message = interaction.message
        text = text_beside(message.content) if message is not None else None
        if message is None or text is None:
            raise Refusal(Reason.NOTHING_TO_SAY_AGAIN)
        with self._one_at_a_time(interaction.user.id, message.id):
            request = SayRequest(
                text,
                voice=button.voice_id,
                where=Where.FILE,
                language=button.language,
                reply_format=ReplyFormat(button.reply_format),
                speed=button.speed,
                source=source_beside(message.content),
            )
            await self.say(interaction, request)

    @contextmanager
    def _one_at_a_time(self, person_id: int, message_id: int) -> Iterator[None]:
        """Raise `Refusal` while the same person has the same message said again."""
        pressed = (person_id, message_id)
        if pressed in self._again:
            raise Refusal(Reason.SAYING_IT_AGAIN)
        self._again.add(pressed)
        try:
            yield
        finally:
            self._again.discard(pressed)

    async def _post(
        self,
        reply: Reply,
        script: Script,
        collect_speech: Callable[..., Coroutine[Any, Any, Speech]],
        *,
        heard: tuple[QueueEntry, GuildPlayer] | None = None,
    ) -> SpeechError | Refusal | None:
        """Collect the speech for a file, and post it where all can see it.

        Args:
            reply: The command's.
            script: What is said.
            collect_speech: Returns the speech.
            heard: By which entry, of which player, it is heard as well.

        Returns why it ends before the text does, or None if it doesn't.
        """
        request, voice, count = script.request, script.voice, len(script.sentences)

        async def collected(progress: Progress) -> Speech:
            collecting = collect_speech(on_sentence=partial(progress.sentence, total=count))
            if heard is None:
                return await collecting
            remarks = asyncio.create_task(voice_channels.remark_lateness(*heard, progress))
            try:
                return await collecting
            finally:
                remarks.cancel()

        speech = await reply.work(collected)
        await self._touch(reply, voice)
        words = PublicWords.about(
            voice.name,
            reply.owner.id,
            script.words,
            speech,
            count,
            self._studio.backend,
            source=request.source,
            owner=voice.owner_id,
        )
        posted: list[int] = []

        def note(message_id: int, channel_id: int, guild_id: int | None) -> None:
            owner = voice.owner_id
            self._policy.posts.note(
                message_id,
                channel_id,
                guild_id,
                voice_id=voice.id,
                owner_id=owner,
                asker_id=reply.owner.id,
            )
            if not posted:
                self._policy.audit.note_own(
                    AuditAction.SPOKE_FILE,
                    reply.actor,
                    voice.id,
                    owner_id=owner,
                    text=script.words,
                )
            posted.append(message_id)

        reply_format = request.reply_format or ReplyFormat.OGG
        again = None
        if await self._scripts.is_told(script, words):
            again = again_view(voice.id, request.language, reply_format, request.speed)
        await reply.post(words, speech, reply_format, view=again, on_posted=note)
        return speech.error

    async def _enqueue(
        self,
        interaction: Interaction,
        command: OrderedCommand,
        make_entry: Callable[[int], QueueEntry],
        *,
        allowed: frozenset[int],
        last_dismissal: Exception | None,
    ) -> tuple[GuildPlayer, QueueEntry]:
        """Join the person's voice channel, and add to its queue. Raises `Refusal`.

        Args:
            interaction: The command.
            command: Its place among those of that person.
            make_entry: Makes the entry for a channel with that id.
            allowed: Where the bot may speak, see `voice_channels.channel_to_speak_in`.
            last_dismissal: The player's when the command began. Whoever sends the bot away while
                the command waits, for Discord or for others, ends it too.
        """
        person, players = interaction.user, self._players
        await command.wait_for_earlier()
        channel = voice_channels.channel_to_speak_in(person, players, allowed)

        def check() -> None:
            if isinstance(person, discord.Member):
                voice_channels.check_may_speak(person, channel, players)

        await players.join(channel, last_dismissal=last_dismissal, check=check)
        check()  # joining takes a while, in which somebody may have muted the person
        player = players.of(channel.guild.id)
        entry = make_entry(channel.id)
        player.add(entry)
        command.release()
        return player, entry

    async def _be_heard(
        self,
        reply: Reply,
        script: Script,
        speech: RequestedSpeech,
        player: GuildPlayer,
        entry: QueueEntry,
    ) -> None:
        """Follow an entry until it was heard, and post its speech as well if that is shared."""
        voice, is_posted = script.voice, False
        attribute = partial(self._live_attributions.say, entry)
        try:
            # Whoever deletes the voice from now on finds the entry in the queue.
            await self._touch(reply, voice)
            self._policy.audit.note_own(
                AuditAction.SPOKE_VOICE,
                reply.actor,
                voice.id,
                owner_id=voice.owner_id,
                text=script.words,
            )
            if speech.is_shared:
                # An error comes to whoever follows, too.
                await self._post(reply, script, speech.collect, heard=(entry, player))
                is_posted = True
            await self._follow(
                reply, player, entry, on_begun=(lambda: None) if is_posted else attribute
            )
        finally:
            player.remove(entry, Refusal(Reason.SPEECH_STOPPED))
            if entry.spoken is not None and not is_posted:
                attribute()

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
        backend = self._studio.backend
        await reply.finish(cards.spoken_in(entry.speaker, where, backend, was_heard=was_heard))

    async def _touch(self, reply: Reply, voice: SavedVoice) -> None:
        """Note that a voice is used now. Raises `Refusal` if it is gone, or may not be used now."""
        await self._voice_access.check_still(reply.actor, voice)
        if await self._voice_access.is_first_borrowing(reply.actor, voice):
            told = sharing_wording.borrowed(voice_name(voice.name), voice.owner_id)
            reply.remarks.append(told)
        self._library.defaults.touch(voice, asker_of(reply.actor))
