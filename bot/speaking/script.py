"""What a person wants to have said, and what that is for a voice: sentences in a language."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from backend.contract import AUTO_LANGUAGE, SpeechError
from bot.errors import Refusal
from bot.interface.attribution import text_beside
from bot.interface.mentions import no_names, resolve_names
from bot.text import with_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    import discord

    from bot.guilds.access import Actor
    from bot.interface.attribution import PublicWords
    from bot.interface.delivery.attachment import ReplyFormat
    from bot.message_source import MessageSource
    from bot.services import Services
    from bot.text import Sentence
    from bot.voices.records import SavedVoice


@dataclass(frozen=True, slots=True)
class SayRequest:
    """What a person wants to have said, and how.

    Attributes:
        text: As typed.
        voice: What the person calls the voice, see `Sharing.find`, or its id; None for the one that
            they use by default.
        where: Where it is heard; None for the person's voice channel if they are in one, and
            otherwise a file.
        language: One of `backend.contract.LANGUAGES`; None for the voice's own.
        reply_format: The kind of file; None if the person chose none.
        speed: From 0.5 to 2; None for the voice's own.
        message: The message whose text it is, if somebody has it read aloud.
        source: The same, as everybody is told of it; also without the message itself.
    """

    text: str = field(repr=False)
    voice: str | int | None = None
    where: str | None = None
    language: str | None = None
    reply_format: ReplyFormat | None = None
    speed: float | None = None
    message: discord.Message | None = field(default=None, repr=False)
    source: MessageSource | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """What is said, by which voice.

    Attributes:
        request: What the person asked for.
        voice: The voice.
        language: What is spoken.
        speed: How fast.
        words: The text as it is shown.
        sentences: The text as it is spoken.
        spoken_for: What is said for words, by their `word_key`.
    """

    request: SayRequest
    voice: SavedVoice
    language: str
    speed: float
    words: str = field(repr=False)
    sentences: list[Sentence] = field(repr=False)
    spoken_for: Mapping[str, str] = field(repr=False)


class Scripts:
    """Makes scripts of what people want to have said.

    Args:
        services: What every front works with.
    """

    def __init__(self, services: Services) -> None:
        self._voice_access = services.voice_access
        self._dictionaries = services.dictionaries
        self._studio = services.studio

    async def voice(self, actor: Actor, request: SayRequest) -> SavedVoice:
        """Return the voice that a person names, or else their default. Raises `Refusal`."""
        if request.voice is None:
            return (await self._voice_access.default(actor)).voice
        if isinstance(request.voice, int):
            return await self._voice_access.voice(actor, request.voice)
        return await self._voice_access.find(actor, request.voice)

    async def script(
        self, interaction: discord.Interaction[Any], request: SayRequest, voice: SavedVoice
    ) -> Script:
        """Return what a voice is to say. Raises what `Studio.script` does."""
        language = request.language or voice.language or AUTO_LANGUAGE
        name_of = await resolve_names(interaction, request.text, message=request.message)
        spoken_for = await self._dictionaries.spoken_for(interaction.user.id, interaction.guild_id)
        sentences = await self._studio.script(
            request.text, language=language, name_of=name_of, spoken_for=spoken_for
        )
        words = with_names(request.text, name_of=name_of)
        speed = request.speed or voice.speed
        return Script(request, voice, language, speed, words, sentences, spoken_for)

    async def is_told(self, script: Script, words: PublicWords) -> bool:
        """Whether the same can be said again from nothing but the words beside the speech.

        It can't if the text is shortened there, or hides a spoiler.
        """
        try:
            sentences = await self._studio.script(
                text_beside(words.beside_file) or "",
                language=script.language,
                name_of=no_names,
                spoken_for=script.spoken_for,
            )
        except (Refusal, SpeechError):
            return False
        return sentences == script.sentences
