"""Correcting the transcript of a saved voice: by a command, or by a button that does the same.

The button works after a restart too.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Self

import discord

from bot.guilds.access import Action
from bot.guilds.records import WorkKind
from bot.interface import cards
from bot.interface.actors import actor_of
from bot.interface.lasting_button import LastingButton
from bot.interface.typed_text import voice_name
from bot.interface.views import TranscriptForm, before_form

if TYPE_CHECKING:
    import re
    from collections.abc import Awaitable, Callable

    from bot.guilds.access import Actor
    from bot.voices.records import SavedVoice

CORRECT = "Correct the transcript"
PRESS_CORRECT = f"press “{CORRECT}”"
"""What to do, completing "please ...", in an answer that has the button."""


async def ask_for_transcript(
    interaction: discord.Interaction[Any], find: Callable[[Actor], Awaitable[SavedVoice]]
) -> None:
    """Ask in a form what is really said in the recording of a voice; learn it from the answer.

    Args:
        interaction: What opens the form, not acknowledged yet.
        find: Returns the voice, which the person owns, or raises `Refusal`.

    Raises `Refusal` before the person writes for nothing.
    """
    voice = await before_form(_to_correct(interaction, find))
    form = TranscriptForm(voice.transcript, on_answer=partial(_correct, voice))
    await interaction.response.send_modal(form)


async def _to_correct(
    interaction: discord.Interaction[Any], find: Callable[[Actor], Awaitable[SavedVoice]]
) -> SavedVoice:
    actor = actor_of(interaction)
    await interaction.client.policy.check(actor, Action.CLONE)
    return await find(actor)


async def _correct(
    voice: SavedVoice, interaction: discord.Interaction[Any], transcript: str
) -> None:
    """Make a voice's prompt again, with another transcript."""
    async with interaction.client.reply(interaction, Action.CLONE) as reply:
        seconds = voice.clip_seconds
        work = await reply.begin(WorkKind.REQUEST, seconds, recording=seconds)
        heard = await reply.work(
            lambda progress: interaction.client.studio.correct_transcript(
                voice, transcript, on_step=progress.step, on_speech=work.made
            )
        )
        shown = voice_name(voice.name)
        reply.remarks.append(f"Done. I learned {shown} again with that transcript.")
        doubt = cards.heard_in(heard, given=transcript, how_to_correct=PRESS_CORRECT)
        if doubt is not None:
            reply.remarks.append(doubt)
            reply.view = transcript_view(voice)
        await reply.finish()


class TranscriptButton(LastingButton, template=r"transcript:(?P<voice>\d{1,18})"):
    """Opens the form for the transcript of a voice, for its owner."""

    def __init__(self, voice_id: int, label: str = CORRECT) -> None:
        super().__init__(
            discord.ui.Button(
                label=label,
                style=discord.ButtonStyle.secondary,
                custom_id=f"transcript:{voice_id}",
            )
        )
        self._voice_id = voice_id

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        """As `LastingButton.from_match`."""
        return cls(int(match["voice"]))

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        """Open the form."""
        access = interaction.client.voice_access
        await ask_for_transcript(interaction, partial(access.own_by_id, voice_id=self._voice_id))


def transcript_view(voice: SavedVoice) -> discord.ui.View:
    """The button below an answer that says what was heard in the recording of a voice."""
    view = discord.ui.View(timeout=None)
    view.add_item(TranscriptButton(voice.id))
    return view
