"""Pages, cards and messages that a command answers with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord

from backend.contract import AUTO_LANGUAGE
from bot.errors import Reason, Refusal
from bot.interface.typed_text import as_text, excerpt, voice_name
from bot.interface.wording.consent import confirmed
from bot.interface.wording.engine import languages
from bot.interface.wording.sentences import (
    NOBODY_LISTENED,
    engine_name,
    engine_notices,
    engine_state,
    explain,
)
from bot.voices.records import Whose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backend.contract import BackendInfo, Heard, SpeechError
    from bot.voices.records import (
        DictionaryPage,
        Forgotten,
        Pronunciation,
        SavedVoice,
        VoicePage,
    )

ACCENT = discord.Colour.from_str("#7c5cff")
LANGUAGE_FOUND = "Found from the text"
"""Shown for a voice whose owner chose no language."""

IS_DEFAULT = "**default**"
"""Shown in a list for the voice that the person chose as their default."""

BAR_CELLS = 12
_WORDS_CHARACTERS = 50

_HELP = {
    "Make a voice": (
        "Use `/clone` with a recording, and choose its `permission`: whether it's your own voice, "
        "or you have the speaker's permission. By choosing you confirm that, and that you won't "
        "use the voice to deceive or harm anyone. "
        "Give it a `name` and I'll keep the voice; write a `text` and it says that. "
        "With the name of one of your voices, I ask whether to replace its recording. "
        "With a recording in a message, use Apps, Clone this voice, in the message's menu."
    ),
    "A good recording": (
        "At least 3 seconds of one person; 10 to 20 are best. "
        "Record close to the microphone, in a quiet room, without music."
    ),
    "Use it": (
        "`/say` speaks up to 5,000 characters with a voice you saved: live if you're in a voice "
        "channel, otherwise as a file. Its `format` can be a voice message, Ogg, MP3, WAV or FLAC. "
        "Everybody is told that the voice is synthetic, and who asked. "
        "The button Again says it in a new take; Apps, Speak this message, in the menu of a "
        "message reads it aloud."
    ),
    "Look after your voices": (
        "`/voice list`, `/voice info`, `/voice rename`, `/voice transcript`, `/voice delete`. "
        "`/voice default` chooses the one I use when you name none, `/voice speed` how fast one "
        "speaks."
    ),
    "Share them": (
        "`/voice share` lets a member, a role or everyone in a server speak with one of your "
        "voices; `/voice unshare` takes it back at once. Only you can rename or delete it, or see "
        "its recording and transcript."
    ),
    "Words I say wrong": (
        "`/dictionary add` tells me what to say for a word, such as “good game” for “GG”. "
        "`/dictionary list` and `/dictionary remove` look after them. "
        "Members with Manage Server can do that for the whole server."
    ),
    "In a voice channel": (
        "`/say` or `/join` brings me, `/leave` sends me away. "
        "`/skip` skips one item, `/stop` clears yours. "
        "`/queue` shows what comes next. For a file instead, use `/say` with `where: file`."
    ),
    "Something's wrong": (
        "`/report` tells those who can act on it about something I said; so does Apps, Report this "
        "speech, in the menu of my message. If somebody uses your own voice, `/voice claim` "
        "freezes it at once. `/verify` tells whether I made a recording."
    ),
    "For your server": (
        "Members with Manage Server decide with `/settings` who may use me, where, and how much. "
        "`/moderation` blocks people, shows and removes voices, and has the log."
    ),
    "What I keep about you": (
        "- Of each voice you name: its cleaned recording, the transcript, what the voice engine "
        "learned from it, how loud and fast it speaks, its name and language, when it was made and "
        "last used, and with whom you share it, under your username.\n"
        "- What you confirmed for it: your Discord ID, the time, the server and which statement.\n"
        "- From `/dictionary`: your words, and what I say for them.\n"
        "- Your default voice, and which shared voice you used last in a server.\n"
        "- For two days: how much speech you used, see `/usage`.\n"
        "- For a while: when and where which of your voices spoke, which of my messages hold that, "
        "and what you reported.\n"
        "- Never the texts I say, only a fingerprint that tells whether a text was the same, and "
        "nothing more of a `/clone` without a name."
    ),
    "Get it or delete it": (
        "`/privacy export` sends you a copy of it all. `/voice delete` deletes one voice. "
        "`/privacy delete`, or `/forget`, deletes your voices, words and consent, and takes you "
        "out of the log of what they said. Deleting can't be undone. What stays: blocks; for a "
        "while, reports and what you decided for a server; and today's use until tomorrow."
    ),
}
"""The fields of the help page: their names, and what they say."""


WHAT_STAYS = (
    "Whoever you share a voice with loses it. Today's use stays until tomorrow, and blocks, "
    "reports and what moderators decided stay, too. "
)
"""Said before everything about a person is deleted."""

LAST_COPIES = "The last copies on my disk go soon; you don't have to do anything."
"""Added where somebody still reads the database, so that deleted data stays in its log."""


def spoken_in(name: str, where: str, backend: BackendInfo, *, was_heard: bool) -> str:
    """The private words after a voice has spoken in a voice channel, named by `where`."""
    spoken = f"{voice_name(name)} has spoken in {where}"
    words = f"{spoken}." if was_heard else f"{spoken}, but {NOBODY_LISTENED}"
    return "\n".join([words, *(f"-# {line}" for line in engine_notices(backend))])


def speaking(number: int, total: int) -> str:
    """Which sentence, counted from 1, is being spoken."""
    if total == 1:
        return "Speaking…"
    filled = BAR_CELLS * (number - 1) // total
    bar = "▰" * filled + "▱" * (BAR_CELLS - filled)
    return f"Speaking sentence {number} of {total}\n{bar}"


def voice_list(  # noqa: PLR0913, PLR0917 - what is on the page, and which it is
    own: VoicePage,
    where_shared: Mapping[int, str],
    shared: Sequence[str],
    shared_total: int,
    page: int,
    per_page: int,
    *,
    default_id: int | None = None,
) -> tuple[str, int]:
    """One page of the voices that a person can use, and how many pages there are.

    Args:
        own: This page's voices of the person's own.
        where_shared: Where these are shared, by their ids, if they are.
        shared: A line for each of this page's voices of others, which follow them.
        shared_total: How many of these there are on all pages.
        page: Its number, from 0.
        per_page: The most voices on it.
        default_id: The voice that the person chose as their default, if they did.
    """
    total = own.total + shared_total
    if total == 0:
        return explain(Refusal(Reason.NO_VOICE_YET)), 1
    pages = -(-total // per_page)
    plural = "voice" if own.total == 1 else "voices"
    heading = f"You have {own.total} {plural}." if own.total else "You have no voices of your own."
    lines = [heading + (f" Page {page + 1} of {pages}." if pages > 1 else "")]
    for voice in own.voices:
        parts = [voice_name(voice.name)]
        if voice.id == default_id:
            parts.append(IS_DEFAULT)
        parts.append(_length(voice.clip_seconds))
        if voice.speed != 1.0:
            parts.append(f"{voice.speed:g}×")  # noqa: RUF001 - "times"
        if voice.id in where_shared:
            parts.append(where_shared[voice.id])
        lines.append(" · ".join([*parts, _last_use(voice)]))
    if shared:
        lines += [f"**Shared with you here** ({shared_total})", *shared]
    return "\n".join(lines), pages


def chosen_language(language: str | None) -> str | None:
    """The language that a voice's owner chose for it; None if they chose none."""
    return None if language == AUTO_LANGUAGE else language


def voice_card(voice: SavedVoice) -> discord.Embed:
    """Everything that is kept about one voice."""
    card = discord.Embed(
        title=as_text(voice.name),
        description=f"**Transcript:** {as_text(voice.transcript)}"
        if voice.transcript
        else "No transcript yet. `/voice transcript` adds one, which makes a clone sound closer.",
        colour=ACCENT,
    )
    card.add_field(name="Recording", value=_length(voice.clip_seconds))
    card.add_field(name="Saved", value=discord.utils.format_dt(voice.created_at, "D"))
    card.add_field(name="Last used", value=_last_use(voice).removeprefix("last used "))
    card.add_field(name="Language", value=chosen_language(voice.language) or LANGUAGE_FOUND)
    card.add_field(name="Speed", value=f"{voice.speed:g}")
    engines = dict.fromkeys(map(engine_name, voice.prompt_models))
    card.add_field(name="Made for", value=", ".join(engines) or "no engine yet")
    card.add_field(
        name="Consent",
        value=f"You {confirmed(voice.consent.statement_version, voice.consent.attested_at)}",
        inline=False,
    )
    return card


def speed_chosen(name: str, speed: float) -> str:
    """What is said when somebody has chosen how fast a voice speaks."""
    shown = voice_name(name)
    if speed == 1.0:
        return f"Done. {shown} speaks at its own speed again."
    return f"Done. {shown} speaks {speed:g} times as fast now. A `speed` in `/say` comes first."


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
        return f"I couldn't make out what's said in the recording. Please {how_to_correct}."
    text = excerpt(heard.text).removesuffix(".")
    if given:
        return (
            f"Your transcript doesn't match. I heard: “{text}”. "
            f"If I'm right, please {how_to_correct}."
        )
    return (
        f"In your recording I heard: “{text}”. "
        f"If that isn't exactly what's said, please {how_to_correct} for a better voice."
    )


def forgotten(what: Forgotten, *, had_use: bool) -> str:
    """What `/forget` did.

    Args:
        what: What was erased of the saved voices and what belongs to them.
        had_use: Whether anything was known about how they used the bot, and isn't any more.
    """
    deleted = []
    if what.voices:
        voices = "voice with its recording" if what.voices == 1 else "voices with their recordings"
        deleted.append(f"{what.voices} {voices}")
    if what.words:
        words = "word" if what.words == 1 else "words"
        deleted.append(f"{what.words} {words} of your dictionary")
    if what.consents:
        records = "record" if what.consents == 1 else "records"
        deleted.append(f"your consent {records}")
    if had_use:
        deleted.append("what I knew about how you used me")
    if not deleted:
        return explain(Refusal(Reason.NOTHING_KEPT))
    all_of_it = ", and ".join([", ".join(deleted[:-1]), deleted[-1]] if deleted[1:] else deleted)
    return (
        f"Deleted {all_of_it}."
        + ("" if what.voices else " You had no saved voice.")
        + ("" if what.is_complete else f" {LAST_COPIES}")
    )


def dictionary_page(
    mine: DictionaryPage, servers: DictionaryPage | None, page: int, per_page: int
) -> tuple[str, int]:
    """One page of a person's own dictionary and of the server's, and how many pages there are.

    Args:
        mine: This page's words of the person's dictionary.
        servers: This page's words of the server's dictionary; None outside of servers.
        page: Its number, from 0.
        per_page: The most words of each dictionary on it.
    """
    dictionaries = {"Your words": mine, **({"This server's words": servers} if servers else {})}
    if not any(each.total for each in dictionaries.values()):
        return "There are no words yet. Use `/dictionary add`, and I'll say them your way.", 1
    pages = max(-(-each.total // per_page) for each in dictionaries.values()) or 1
    lines = []
    for heading, each in dictionaries.items():
        if each.words:
            lines += [f"**{heading}** ({each.total})", *map(_pronunciation, each.words)]
    if pages > 1:
        lines.append(f"Page {page + 1} of {pages}.")
    return "\n".join(lines), pages


def word_removed(entry: Pronunciation, whose: Whose, still: str | None) -> str:
    """What `/dictionary remove` did.

    Args:
        entry: What was removed.
        whose: The kind of dictionary that it was in.
        still: What the other dictionary says for that word; None if nothing.
    """
    word = as_text(entry.word)
    if still is None:
        return f"Removed. I say “{word}” as it's written again."
    other = "this server's words" if whose is Whose.PERSON else "your own words"
    return f"Removed. I still say “{as_text(still)}” for you: “{word}” is one of {other}, too."


def _pronunciation(entry: Pronunciation) -> str:
    return f"{as_text(entry.word)} → {excerpt(entry.spoken, max_characters=_WORDS_CHARACTERS)}"


def help_page(
    backend: BackendInfo,
    problem: SpeechError | TimeoutError | None,
    *,
    privacy_url: str | None = None,
    terms_url: str | None = None,
) -> discord.Embed:
    """What the bot does, what it keeps, and how to delete it.

    Args:
        backend: What makes the speech.
        problem: What keeps it from speaking now, or None if it is ready.
        privacy_url: The operator's privacy policy, if they have named one.
        terms_url: The operator's terms, if they have named them.
    """
    page = discord.Embed(
        title="Timbre", description="I speak in the voices you give me.", colour=ACCENT
    )
    spoken = ", ".join(languages(backend.languages))
    engine = [f"{engine_name(backend.model_id)}. Languages: {spoken}."] if backend.clones else []
    engine += engine_notices(backend)
    fields = {**_HELP, "Voice engine": " ".join([*engine, engine_state(problem)])}
    pages = {"Privacy policy": privacy_url, "Terms": terms_url}
    links = [f"[{title}]({url})" for title, url in pages.items() if url is not None]
    if links:
        fields["The rules"] = " · ".join(links)
    for name, value in fields.items():
        page.add_field(name=name, value=value, inline=False)
    return page


def _length(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004 - one decimal


def _last_use(voice: SavedVoice) -> str:
    if voice.last_used_at is None:
        return "not used yet"
    return f"last used {discord.utils.format_dt(voice.last_used_at, 'R')}"
