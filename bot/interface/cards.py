"""Pages, cards and messages that a command answers with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord

from backend.contract import AUTO_LANGUAGE
from bot.errors import Reason, Refusal
from bot.interface.wording import (
    PREVIEW_NOTICE,
    as_text,
    engine_state,
    excerpt,
    explain,
    note,
    voice_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from backend.contract import BackendInfo, Heard, SpeechError
    from bot.errors import Note
    from bot.playback.permissions import VocalChannel
    from bot.voices.records import Forgotten, SavedVoice

ACCENT = discord.Colour.from_str("#7c5cff")
BAR_CELLS = 12

_HELP = {
    "Make a voice": (
        "`/clone` with a recording of 3 to 30 seconds of one person speaking, and a text. "
        "Give it a `name` and I keep the voice."
    ),
    "Use it": (
        "`/say` speaks with your saved voice, up to 5,000 characters: live if you are in a "
        "voice channel, else as a voice message or an Ogg, MP3, WAV or FLAC file. "
        "`/voice list`, `info`, `rename`, `transcript` and `delete` look after your voices."
    ),
    "In a voice channel": (
        "I come by myself, or with `/join`, and go with `/leave`. `/queue` shows what comes "
        "next, `/skip` and `/stop` end it. With `where` set to file, `/say` posts a file."
    ),
    "What I keep about you": (
        "For a voice you name: its cleaned recording, the transcript, what the voice "
        "engine learned from it, and its name. Your consent: your Discord id, the time and the "
        "server. Nothing of a `/clone` without a name, and never the texts I say."
    ),
    "Delete it": "`/voice delete` for one voice, `/forget` for everything. Both are final.",
}
"""The fields of the help page: their names, and what they say."""


def spoken_message(
    speaker: str, typed: str, backend: BackendInfo, notes: Iterable[Note] = ()
) -> str:
    """The public words beside a piece of speech.

    Args:
        speaker: Who is heard, already escaped.
        typed: What the person asked to be said; shown so that it can be read without sound.
        backend: What made the speech.
        notes: What was done to the recording.
    """
    small = [*map(note, notes), *_preview_notice(backend)]
    return "\n".join([f"{speaker} says: “{excerpt(typed)}”", *(f"-# {line}" for line in small)])


def heard_message(name: str, channel: VocalChannel | None, backend: BackendInfo) -> str:
    """The private words after a voice was heard in a voice channel."""
    where = channel.mention if channel is not None else "the voice channel"
    small = [f"-# {line}" for line in _preview_notice(backend)]
    return "\n".join([f"{voice_name(name)} has spoken in {where}.", *small])


def speaking(number: int, total: int) -> str:
    """Which sentence, counted from 1, is being spoken."""
    if total == 1:
        return "Speaking…"
    filled = BAR_CELLS * (number - 1) // total
    bar = "▰" * filled + "▱" * (BAR_CELLS - filled)
    return f"Speaking sentence {number} of {total}\n{bar}"


def voice_list(
    voices: Sequence[SavedVoice], page: int, total: int, per_page: int
) -> tuple[str, int]:
    """One page of a person's voices, and how many pages there are."""
    if total == 0:
        return explain(Refusal(Reason.NO_VOICE_YET)), 1
    pages = -(-total // per_page)
    plural = "voice" if total == 1 else "voices"
    lines = [
        f"{voice_name(voice.name)} · {_length(voice.clip_seconds)} · {_last_use(voice)}"
        for voice in voices
    ]
    heading = f"You have {total} {plural}." + (f" Page {page + 1} of {pages}." if pages > 1 else "")
    return "\n".join([heading, *lines]), pages


def voice_card(voice: SavedVoice) -> discord.Embed:
    """Everything that is kept about one voice."""
    card = discord.Embed(
        title=as_text(voice.name),
        description=as_text(voice.transcript) if voice.transcript else "No transcript is known.",
        colour=ACCENT,
    )
    card.add_field(name="Recording", value=_length(voice.clip_seconds))
    card.add_field(name="Saved", value=discord.utils.format_dt(voice.created_at, "D"))
    card.add_field(name="Last used", value=_last_use(voice).removeprefix("last used "))
    card.add_field(name="Language", value=voice.language or AUTO_LANGUAGE)
    card.add_field(name="Learned by engine", value=", ".join(voice.prompt_models) or "none yet")
    card.add_field(
        name="Consent",
        value=(
            f"You confirmed the statement (version {voice.consent.statement_version}) "
            f"{discord.utils.format_dt(voice.consent.attested_at, 'f')}."
        ),
        inline=False,
    )
    card.set_footer(text="Only you can see and use this voice.")
    return card


def heard_in(heard: Heard | None, *, given: str | None, how_to_correct: str) -> str | None:
    """What the person should know about the transcript, if there is anything to know.

    Args:
        heard: What was heard in the recording, or None if nothing listened.
        given: The transcript that the person gave, if they did.
        how_to_correct: What to do to give another one, completing "please ...".
    """
    if heard is None or (given and not heard.differs):
        return None
    if not heard.text:
        return f"I couldn't make out what is said in the recording; please {how_to_correct}."
    if given:
        return (
            "Your transcript does not seem to be what is said in the recording, where I heard: "
            f"“{excerpt(heard.text)}” If I am right, please {how_to_correct}."
        )
    return (
        f"In the recording I heard: “{excerpt(heard.text)}” "
        f"If that is not exactly what is said, please {how_to_correct}: the voice gets better."
    )


def forgotten(what: Forgotten) -> str:
    """What `/forget` did."""
    if what.voices == 0:
        gone = "your consent record is gone" if what.consents else "I kept nothing about you"
        return f"Done. You had no saved voice, and {gone}."
    plural = "voice" if what.voices == 1 else "voices"
    return f"Done. {what.voices} {plural}, the recordings and your consent record are gone."


def help_page(backend: BackendInfo, problem: SpeechError | TimeoutError | None) -> discord.Embed:
    """What the bot does, what it keeps, and how to delete it.

    Args:
        backend: What makes the speech.
        problem: What keeps it from speaking now, or None if it is ready.
    """
    page = discord.Embed(
        title="Timbre", description="I speak in the voices you give me.", colour=ACCENT
    )
    spoken = ", ".join(name for name in backend.languages if name != AUTO_LANGUAGE)
    engine = [f"{backend.name}. Languages: {spoken}.", *_preview_notice(backend)]
    fields = {**_HELP, "Voice engine": " ".join([*engine, engine_state(problem)])}
    for name, value in fields.items():
        page.add_field(name=name, value=value, inline=False)
    return page


def _preview_notice(backend: BackendInfo) -> list[str]:
    return [] if backend.clones else [PREVIEW_NOTICE]


def _length(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004 - one decimal


def _last_use(voice: SavedVoice) -> str:
    if voice.last_used_at is None:
        return "not used yet"
    return f"last used {discord.utils.format_dt(voice.last_used_at, 'R')}"
