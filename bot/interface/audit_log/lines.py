"""The audit log as people read it: a line for each thing that happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord

from bot.guilds.audit import ONES_OWN
from bot.guilds.records import AuditAction, FreezeKind
from bot.interface.server_settings.parts import part_name
from bot.interface.typed_text import voice_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bot.guilds.moderation import Decisions
    from bot.guilds.records import AuditEntry, AuditPage, BlockPage, VoiceUsePage
    from bot.voices.records import SavedVoice

_WITH_VOICE: dict[AuditAction, str] = {
    AuditAction.CLONED: "{who} made voice {voice}",
    AuditAction.REPLACED: "{who} gave voice {voice} another recording",
    AuditAction.SPOKE_FILE: "{who} posted speech with voice {voice}",
    AuditAction.SPOKE_VOICE: "{who} spoke in a voice channel with voice {voice}",
    AuditAction.DELETED: "{who} deleted voice {voice}",
    AuditAction.SHARED: "{who} shared voice {voice}",
    AuditAction.UNSHARED: "{who} stopped sharing voice {voice}",
    AuditAction.FROZEN: "{who} froze voice {voice} of {owner}",
    AuditAction.UNFROZEN: "{who} allowed voice {voice} of {owner} again",
    AuditAction.REMOVED: "{who} removed voice {voice} of {owner}",
    AuditAction.REPORTED: "Somebody reported voice {voice} of {owner}",
    AuditAction.CLAIMED: "Somebody said that voice {voice} of {owner} is their own",
    AuditAction.DECIDED: "{who} dismissed a report about voice {voice} of {owner}",
}

_WITHOUT_VOICE: dict[AuditAction, str] = {
    AuditAction.CLONED: "{who} tried a voice from a recording",
    AuditAction.REPLACED: "{who} gave a voice another recording",
    AuditAction.SPOKE_FILE: "{who} posted speech",
    AuditAction.SPOKE_VOICE: "{who} spoke in a voice channel",
    AuditAction.DELETED: "{who} deleted a voice",
    AuditAction.SHARED: "{who} shared a voice",
    AuditAction.UNSHARED: "{who} stopped sharing a voice",
    AuditAction.FORGOT: "Somebody had everything deleted that I kept about them",
    AuditAction.BLOCKED: "{who} blocked {owner}",
    AuditAction.UNBLOCKED: "{who} unblocked {owner}",
    AuditAction.FROZEN: "{who} froze a voice of {owner}",
    AuditAction.UNFROZEN: "{who} allowed a voice of {owner} again",
    AuditAction.REMOVED: "{who} removed a voice of {owner}",
    AuditAction.REPORTED: "Somebody reported speech of {owner}",
    AuditAction.CLAIMED: "Somebody said that a voice of {owner} is their own",
    AuditAction.DECIDED: "{who} dismissed a report about speech of {owner}",
    AuditAction.SETTINGS_CHANGED: "{who} changed this server's settings",
    AuditAction.WARMED: "{who} kept the voice engine awake",
}


def audit_line(entry: AuditEntry) -> str:
    """One line of the log. Its mentions are to be sent without pings.

    It doesn't say who has sent a report: whoever made the speech may read the log.
    """
    sentences = _WITHOUT_VOICE if entry.voice_id is None else {**_WITHOUT_VOICE, **_WITH_VOICE}
    if entry.actor_id is not None:
        who = _person(entry.actor_id)
    else:
        # The command line never does what people do with their own.
        is_forgotten = entry.action in ONES_OWN
        who = "Somebody who was forgotten" if is_forgotten else "Whoever runs this bot"
    owner = "somebody" if entry.owner_id is None else _person(entry.owner_id)
    what = sentences[entry.action].format(who=who, voice=f"#{entry.voice_id}", owner=owner)
    details = f" ({part_name(entry.details) or entry.details})" if entry.details else ""
    return f"{discord.utils.format_dt(entry.at, 'f')} {what}{details}"


def audit_page(log: AuditPage, page: int, per_page: int, *, days: int) -> tuple[str, int]:
    """One page of a server's log, and how many pages there are.

    Args:
        log: This page's lines.
        page: Its number, from 0.
        per_page: The most lines on it.
        days: For how many days lines are kept.
    """
    if not log.total:
        time = "day" if days == 1 else f"{days} days"
        return f"Nothing like that happened here in the last {time}.", 1
    return _paged(map(audit_line, log.entries), page, log.total, per_page)


def block_list(blocks: BlockPage, page: int, per_page: int) -> tuple[str, int]:
    """One page of the people who are blocked in a server, and how many pages there are."""
    if not blocks.total:
        return "Nobody is blocked here.", 1
    lines = [
        f"{_person(block.user_id)} · blocked by "
        f"{'whoever runs this bot' if block.by is None else _person(block.by)} "
        f"{discord.utils.format_dt(block.at, 'R')}"
        for block in blocks.blocks
    ]
    return _paged(lines, page, blocks.total, per_page)


def voices_used(  # noqa: PLR0913, PLR0917 - what is known of them comes from three places
    uses: VoiceUsePage,
    known: Mapping[int, SavedVoice],
    decided: Decisions,
    guild_id: int,
    page: int,
    per_page: int,
) -> tuple[str, int]:
    """One page of the voices that were used in a server, and how many pages there are.

    Args:
        uses: This page's voices.
        known: Those of them that were not deleted, by their ids.
        decided: What keeps any of them from being used.
        guild_id: The server.
        page: The page's number, from 0.
        per_page: The most voices on it.
    """
    if not uses.total:
        return "No voice that still exists was used here yet.", 1
    lines = []
    for use in uses.voices:
        times = "once" if use.uses == 1 else f"{use.uses} times"
        state = voice_state(use.voice_id, known, decided, guild_id)
        lines.append(
            f"{numbered_voice(use.voice_id, known)} of {_person(use.owner_id)} · used {times}, "
            f"last {discord.utils.format_dt(use.last_at, 'R')}{f' · **{state}**' if state else ''}"
        )
    return _paged(lines, page, uses.total, per_page)


def numbered_voice(voice_id: int, known: Mapping[int, SavedVoice]) -> str:
    """A voice's number, and its name unless it was deleted."""
    voice = known.get(voice_id)
    return f"#{voice_id}" if voice is None else f"#{voice_id} {voice_name(voice.name)}"


def voice_state(
    voice_id: int, known: Mapping[int, SavedVoice], decided: Decisions, guild_id: int
) -> str | None:
    """What keeps a voice from being used in a server, in a word or two; None if nothing does."""
    if voice_id not in known:
        return "deleted"
    freeze = decided.freeze_of(voice_id, guild_id)
    if freeze is None:
        return None
    where = "here" if freeze.guild_id == guild_id else "everywhere"
    return f"{'frozen' if freeze.kind is FreezeKind.FROZEN else 'removed'} {where}"


def _person(user_id: int) -> str:
    return f"<@{user_id}>"


def _paged(lines: Iterable[str], page: int, total: int, per_page: int) -> tuple[str, int]:
    """The lines of a page, with its number if there are more, and how many there are."""
    pages = -(-total // per_page)
    number = [f"Page {page + 1} of {pages}."] if pages > 1 else []
    return "\n".join([*lines, *number]), pages
