"""`/dictionary`: what to say for words that are said wrong."""

from __future__ import annotations

import structlog
from discord import app_commands
from discord.ext import commands

from bot.client import Interaction, VoiceBot
from bot.errors import Reason, Refusal
from bot.guilds.access import Action
from bot.interface import cards
from bot.interface.options import WHOSE_CHOICES
from bot.interface.typed_text import as_text
from bot.interface.views import Pages
from bot.text import word_key
from bot.voices.dictionary import MAX_SPOKEN_CHARACTERS, MAX_WORD_CHARACTERS
from bot.voices.records import Whose

WORDS_PER_PAGE = 5
"""So many of each dictionary fit into a message, 2,000 characters, even if all are escaped."""

_LONGEST_CHOICE = 100

log = structlog.get_logger(__name__)


async def suggest_words(interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
    """Offer the words of the dictionary that is chosen; nothing rather than an error."""
    try:
        whose, owner_id = _dictionary_of(interaction, interaction.namespace.whose)
        words = await interaction.client.dictionaries.suggest(whose, owner_id, typed)
    except Refusal:
        return []
    except Exception:
        log.exception("autocompletion failed")
        return []
    return [
        app_commands.Choice(name=f"{each.word} → {each.spoken}"[:_LONGEST_CHOICE], value=each.word)
        for each in words
    ]


class Dictionary(
    commands.GroupCog, group_name="dictionary", group_description="Teach me how to say words"
):
    """A person's own dictionary, and the server's."""

    def __init__(self, bot: VoiceBot) -> None:
        self.bot = bot

    @app_commands.command(description="Tell me what to say for a word")
    @app_commands.describe(
        word="The word as it's written, such as GG",
        spoken="What I should say for it, such as good game",
        whose="Leave it out to change it for yourself alone",
    )
    @app_commands.choices(whose=WHOSE_CHOICES)
    async def add(
        self,
        interaction: Interaction,
        word: app_commands.Range[str, 1, MAX_WORD_CHARACTERS],
        spoken: app_commands.Range[str, 1, MAX_SPOKEN_CHARACTERS],
        whose: str | None = None,
    ) -> None:
        """Store a word, or change what is said for it."""
        async with self.bot.reply(interaction, _action(whose, Action.OTHER)) as reply:
            kind, owner_id = _dictionary_of(interaction, whose)
            entry = await self.bot.dictionaries.add(kind, owner_id, word, spoken)
            who = "somebody here writes" if kind is Whose.SERVER else "you write"
            spoken, word = as_text(entry.spoken), as_text(entry.word)
            await reply.show(f"From now on I'll say “{spoken}” when {who} “{word}”.")

    @app_commands.command(description="Let me say a word as it's written again")
    @app_commands.describe(
        word="The word as it's written", whose="Leave it out to change it for yourself alone"
    )
    @app_commands.choices(whose=WHOSE_CHOICES)
    @app_commands.autocomplete(word=suggest_words)
    async def remove(
        self,
        interaction: Interaction,
        word: app_commands.Range[str, 1, MAX_WORD_CHARACTERS],
        whose: str | None = None,
    ) -> None:
        """Remove a word."""
        async with self.bot.reply(interaction, _action(whose, Action.OWN)) as reply:
            kind, owner_id = _dictionary_of(interaction, whose)
            entry = await self.bot.dictionaries.remove(kind, owner_id, word)
            others = await self.bot.dictionaries.spoken_for(
                interaction.user.id, interaction.guild_id
            )
            await reply.show(cards.word_removed(entry, kind, others.get(word_key(entry.word))))

    @app_commands.command(name="list", description="Show the words I say differently")
    async def list_words(self, interaction: Interaction) -> None:
        """The person's words and the server's, a page at a time."""

        async def render(asking: Interaction, page: int) -> tuple[str, int]:
            dictionaries, offset = self.bot.dictionaries, page * WORDS_PER_PAGE
            mine = await dictionaries.page(
                Whose.PERSON, asking.user.id, offset=offset, limit=WORDS_PER_PAGE
            )
            servers = None
            if asking.guild_id is not None:
                servers = await dictionaries.page(
                    Whose.SERVER, asking.guild_id, offset=offset, limit=WORDS_PER_PAGE
                )
            return cards.dictionary_page(mine, servers, page, WORDS_PER_PAGE)

        async with self.bot.reply(interaction, Action.OWN):
            await Pages(render).show(interaction)


def _action(whose: str | None, with_own: Action) -> Action:
    """What a person does who changes a dictionary, given what it is to change their own."""
    return Action.MANAGE if whose == Whose.SERVER else with_own


def _dictionary_of(interaction: Interaction, chosen: str | None) -> tuple[Whose, int]:
    """Which dictionary a person means. Raises `Refusal` if there is none."""
    if chosen != Whose.SERVER:
        return Whose.PERSON, interaction.user.id
    if interaction.guild_id is None:
        raise Refusal(Reason.ONLY_IN_SERVERS)
    return Whose.SERVER, interaction.guild_id


async def setup(bot: VoiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    await bot.add_cog(Dictionary(bot))
