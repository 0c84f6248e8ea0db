"""`/say`: speak with a saved voice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from discord import app_commands
from discord.ext import commands

from backend.contract import AUTO_LANGUAGE
from bot.client import Interaction, VoiceBot
from bot.errors import Refusal
from bot.interface import speaking, wording
from bot.interface.attachments import ReplyFormat, SpeechAttachment
from bot.interface.options import (
    FORMAT_CHOICES,
    LANGUAGE_CHOICES,
    counts_for,
    name_resolver,
    suggest_voices,
)
from bot.interface.reply import Reply
from bot.interface.speaking import WHERE_CHOICES, Where
from bot.interface.turns import Turn, Turns
from bot.playback.queue import QueuedItem
from bot.playback.recording import Recording
from bot.text import MAX_TEXT_CHARACTERS, Sentence
from bot.voices.names import MAX_NAME_CHARACTERS
from bot.voices.records import SavedVoice

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from bot.audio.joining import JoinedSpeech
    from bot.playback.player import GuildPlayer
    from bot.streaming import SpeechChunk

VOICE_DELETED = "That voice was deleted meanwhile, so nothing was posted."


@dataclass(frozen=True, slots=True)
class Utterance:
    """What is to be said.

    Attributes:
        text: As it was typed.
        sentences: The same, ready to be spoken.
        voice: Who says it.
        language: In which language.
        caller: Whose turn it takes.
    """

    text: str = field(repr=False)
    sentences: list[Sentence] = field(repr=False)
    voice: SavedVoice
    language: str
    caller: str


class Say(commands.Cog):
    """From text to speech."""

    def __init__(self, bot: VoiceBot) -> None:
        self.bot = bot
        self._turns = Turns()

    @app_commands.command(description="Say something with one of your voices")
    @app_commands.describe(
        text="What the voice should say",
        voice="Which of your voices; without it, the one you used last",
        where="Where it is heard; without it, in your voice channel if I can speak there",
        language="The language of the text; without it, the one the voice was made with",
        format="Post a file of this kind",
    )
    @app_commands.choices(language=LANGUAGE_CHOICES, format=FORMAT_CHOICES, where=WHERE_CHOICES)
    @app_commands.autocomplete(voice=suggest_voices)
    async def say(  # noqa: PLR0913, PLR0917 - the options of the slash command
        self,
        interaction: Interaction,
        text: app_commands.Range[str, 1, MAX_TEXT_CHARACTERS],
        voice: app_commands.Range[str, 1, MAX_NAME_CHARACTERS] | None = None,
        where: str | None = None,
        language: str | None = None,
        format: str | None = None,  # noqa: A002 - the option's name in Discord
    ) -> None:
        """Speak sentence by sentence, and post one file, or be heard in the voice channel."""
        with self._turns.taken(interaction.user.id) as turn:
            async with Reply(interaction) as reply:
                place = _place(interaction, where, file_wanted=format is not None)
                if place is not Where.VOICE:
                    reply.claim_place()
                if place is Where.FILE:
                    turn.end()
                utterance = await self._utterance(interaction, text, voice, language)
                reply_format = ReplyFormat(format) if format else ReplyFormat.OGG
                if place is Where.FILE:
                    await self._post(
                        reply, utterance, await self._speak(reply, utterance), reply_format
                    )
                    await reply.finish()
                elif place is Where.VOICE:
                    await self._say_aloud(interaction, reply, turn, utterance)
                else:
                    await self._say_both(interaction, reply, turn, utterance, reply_format)

    async def _utterance(
        self, interaction: Interaction, text: str, voice: str | None, language: str | None
    ) -> Utterance:
        """What is to be said, in a form that can be. Raises `Refusal` or a `SpeechError`."""
        saved = await self._voice(interaction.user.id, voice)
        spoken = language or saved.language or AUTO_LANGUAGE
        sentences = await self.bot.studio.script(
            text, language=spoken, name_of=name_resolver(interaction)
        )
        return Utterance(text, sentences, saved, spoken, counts_for(interaction))

    async def _speak(self, reply: Reply, utterance: Utterance) -> JoinedSpeech:
        """Make the speech for a file."""
        return await reply.work(
            lambda progress: self.bot.studio.speak_saved(
                utterance.sentences,
                utterance.voice,
                language=utterance.language,
                caller=utterance.caller,
                on_sentence=progress.sentence,
            )
        )

    async def _post(
        self, reply: Reply, utterance: Utterance, speech: JoinedSpeech, reply_format: ReplyFormat
    ) -> None:
        """Post speech where all can see it."""
        if not await self.bot.library.touch(utterance.voice):
            raise Refusal(VOICE_DELETED)
        name = wording.voice_name(utterance.voice.name)
        await reply.post(
            wording.spoken_message(name, utterance.text, notice=self.bot.studio.backend.notice),
            SpeechAttachment(speech, reply_format, self.bot.encoding_turns),
        )

    async def _say_aloud(
        self, interaction: Interaction, reply: Reply, turn: Turn, utterance: Utterance
    ) -> None:
        """Speak in the person's voice channel; only the person sees a message about it."""
        if not await self.bot.library.touch(utterance.voice):
            raise Refusal(VOICE_DELETED)
        player, item = await self._queue(
            interaction, turn, utterance, lambda: self._stream(utterance)
        )
        await self._follow(reply, player, item)

    async def _say_both(
        self,
        interaction: Interaction,
        reply: Reply,
        turn: Turn,
        utterance: Utterance,
        reply_format: ReplyFormat,
    ) -> None:
        """Speak in the voice channel, and post the same speech as a file as soon as it is made."""
        recording = Recording()
        player, item = await self._queue(interaction, turn, utterance, recording.follow)
        try:
            speech = await reply.work(
                lambda progress: recording.record(
                    self._stream(utterance),
                    on_sentence=lambda number: progress.sentence(number, len(utterance.sentences)),
                )
            )
            await self._post(reply, utterance, speech, reply_format)
            await self._follow(reply, player, item)
        finally:
            player.remove(item, Refusal(speaking.STOPPED_SPEAKING))

    async def _queue(
        self,
        interaction: Interaction,
        turn: Turn,
        utterance: Utterance,
        speech: Callable[[], AsyncGenerator[SpeechChunk, None]],
    ) -> tuple[GuildPlayer, QueuedItem]:
        """Join the person's voice channel, and put something into its queue. Raises `Refusal`."""
        await turn.comes()
        channel = speaking.channel_to_speak_in(interaction)
        await self.bot.players.join(channel)
        player = self.bot.players.of(channel.guild.id)
        item = QueuedItem(
            owner_id=interaction.user.id,
            owner_name=interaction.user.display_name,
            speaker=utterance.voice.name,
            text=utterance.text,
            sentences=len(utterance.sentences),
            speech=speech,
        )
        player.add(item)
        turn.end()
        return player, item

    async def _follow(self, reply: Reply, player: GuildPlayer, item: QueuedItem) -> None:
        """Keep the private message up to date until the item was heard."""
        await reply.work(
            lambda progress: speaking.follow(item, player, progress),
            stopped=speaking.STOPPED_SPEAKING,
        )
        notice = self.bot.studio.backend.notice
        channel = player.connection.channel
        await reply.show(speaking.heard_message(item.speaker, channel, notice=notice))

    def _stream(self, utterance: Utterance) -> AsyncGenerator[SpeechChunk, None]:
        return self.bot.studio.stream(
            utterance.sentences,
            utterance.voice,
            language=utterance.language,
            caller=utterance.caller,
        )

    async def _voice(self, owner_id: int, name: str | None) -> SavedVoice:
        if name is not None:
            return await self.bot.library.find(owner_id, name)
        saved = await self.bot.library.default_for(owner_id)
        if saved is None:
            raise Refusal(wording.NO_VOICE_YET)
        return saved


def _place(interaction: Interaction, where: str | None, *, file_wanted: bool) -> Where:
    """Where speech goes. Raises `Refusal` if it cannot be heard where it is wanted."""
    if where is None:
        return Where.FILE if file_wanted else speaking.usual_place(interaction)
    place = Where(where)
    if place is not Where.FILE:
        speaking.channel_to_speak_in(interaction)
    return place


async def setup(bot: VoiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    await bot.add_cog(Say(bot))
