"""Every sentence for the reasons, remarks and errors that the rest of the bot raises as codes.

What people typed is escaped here as well, where it becomes a part of a sentence.
"""

from __future__ import annotations

import math
import re
from functools import partial
from typing import TYPE_CHECKING, Any

from backend.contract import SpeechError
from bot.errors import Note, Reason, Refusal, Remark
from bot.interface.typed_text import as_text
from bot.interface.wording import access as access_wording
from bot.interface.wording import consent as consent_wording
from bot.interface.wording import export as export_wording
from bot.interface.wording import limits as limit_wording
from bot.interface.wording import menus as menu_wording
from bot.interface.wording import moderation as moderation_wording
from bot.interface.wording import recordings as recording_wording
from bot.interface.wording import reports as report_wording
from bot.interface.wording import sharing as sharing_wording
from bot.interface.wording.engine import explain_speech_error
from bot.studio import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from backend.contract import BackendInfo
    from bot.errors import Value

PREVIEW_NOTICE = (
    "This is a preview: a stock English voice adjusted toward the recording, not a clone."
)

UNMARKED_NOTICE = (
    "This voice engine doesn't mark its speech, so `/verify` can't tell that I made this."
)

NOBODY_LISTENED = (
    "nobody heard it: everyone there is deafened or has left. Undeafen, then use `/say` again."
)

UNTOLD = (
    "Your command is done, but I couldn't send you a direct message about it. "
    "If something is missing, please run it again."
)
"""What the channel is told, if who used a command long ago can't be told in private."""

GOES_ON_IN_SILENCE = (
    "-# Discord doesn't let me update this message any longer. I'll send another when I'm done."
)

MAX_MENTIONS = 5

A_FEW_SECONDS, ROUND_SECONDS, MINUTE = 4, 5, 60

_COMMAND = re.compile(r"`/([a-z]+(?: [a-z]+)?)`")
_PUBLISHED = re.compile(r"Qwen/Qwen3-TTS-12Hz-([\d.]+B)-Base")

_OR_FILE = "or use `/say` with `where: file`"

STEPS: dict[Step, str] = {
    Step.LISTENING: "Listening to your recording",
    Step.LEARNING: "Learning the voice",
    Step.SEARCHING: "Looking for my mark",
}

REFUSALS: dict[Reason, str] = {
    Reason.TEXT_TOO_LONG: (
        "That text has {characters:,} characters. I can say up to {limit:,} at once, "
        "so please split it."
    ),
    Reason.TEXT_TOO_LONG_SPOKEN: (
        "With what the dictionaries say for its words, that text has {characters:,} characters. "
        "I can say up to {limit:,} at once, so please split it."
    ),
    Reason.WORD_NOT_SPEAKABLE: (
        "I can say only what has letters or digits in it. Try again with some in both fields."
    ),
    Reason.WORD_TOO_LONG: (
        "That's too long. A word can have {word} characters, and what I say for it {spoken}."
    ),
    Reason.NO_SUCH_WORD: (
        "That word isn't in that dictionary. See all words with `/dictionary list`."
    ),
    Reason.DICTIONARY_FULL: (
        "That dictionary has {limit} words, the most I keep. "
        "Make room with `/dictionary remove` first."
    ),
    Reason.NOTHING_TO_SAY: "There's nothing in that text I can say aloud. Try some words.",
    **recording_wording.REFUSALS,
    Reason.NAME_EMPTY: "A voice needs a name. Type one you'll recognise later.",
    Reason.NAME_TOO_LONG: "That name is too long. Use at most {limit} characters.",
    Reason.NAME_HIDES_CHARACTERS: (
        "That name has line breaks or invisible characters in it. "
        "Use only letters, digits, spaces and emoji."
    ),
    Reason.NAME_INVISIBLE: "That name would look empty. Add a letter, a digit or an emoji.",
    Reason.NAME_TAKEN: (
        "You already have a voice with that name. "
        "Pick another name, or free this one with `/voice rename` or `/voice delete`."
    ),
    Reason.NO_SUCH_VOICE: (
        "You have no voice with that name. See yours with `/voice list`, or make one with `/clone`."
    ),
    Reason.NO_VOICE_YET: (
        "You have no saved voice yet. "
        "Make one with `/clone`: attach a recording and give it a `name`."
    ),
    Reason.NO_VOICES_KEPT: (
        "No voices are kept here, because there's no database. "
        "Send a recording as `ref_audio` with each request instead."
    ),
    Reason.TOO_MANY_VOICES: (
        "You already have {limit} voices, the most I keep for you. "
        "Delete one with `/voice delete` to make room."
    ),
    Reason.VOICE_DELETED: (
        "That voice was deleted, so I said nothing. Pick another with `/voice list`."
    ),
    Reason.CLIP_DAMAGED: (
        "The saved recording of that voice is damaged. That's not your fault. "
        "Use `/clone` with a new recording and the same `name`."
    ),
    Reason.TRANSCRIPT_EMPTY: "That transcript is empty. Please write what's said in the recording.",
    Reason.VOICE_GONE: (
        "That voice isn't among yours any more. "
        "See yours with `/voice list`, or make one with `/clone`."
    ),
    Reason.VOICE_KEPT: "Kept. **{name}** is still there.",
    Reason.RECORDING_KEPT: (
        "Kept. **{name}** still has its recording. "
        "To keep this one as well, use `/clone` with another `name`."
    ),
    Reason.RECORDING_STAYS: (
        "You already have **{name}**, and it was frozen or removed somewhere, or somebody says "
        "it's theirs. So its recording can't be replaced. Use `/clone` with another `name`."
    ),
    Reason.RECORDING_REPLACED: (
        "That voice got another recording meanwhile, so I stopped. Please try again."
    ),
    Reason.RECORDING_NOT_SENT: (
        "I couldn't send you the recording, because Discord didn't take it. "
        "That's not your fault. Please press the button again in a minute."
    ),
    Reason.EVERYTHING_KEPT: "Kept. Nothing was deleted.",
    Reason.NOTHING_KEPT: (
        "There's nothing to delete. At most I know how much speech you used today, and I forget "
        "that by myself."
    ),
    Reason.ALL_DELETED_MEANWHILE: (
        "You had everything deleted, so I stopped making that voice and kept nothing of it. "
        "To make it after all, use `/clone` again."
    ),
    **consent_wording.REFUSALS,
    **export_wording.REFUSALS,
    Reason.DATABASE_NOT_READ: (
        "I can't look that up right now, because my database doesn't answer. That's my fault, not "
        "yours. Please try again in a minute; if it stays so, tell whoever runs this bot."
    ),
    Reason.DATABASE_NOT_WRITTEN: (
        "I couldn't save that, because my database takes nothing right now. That's my fault, not "
        "yours. Please try again in a minute; if it stays so, tell whoever runs this bot."
    ),
    **limit_wording.REFUSALS,
    Reason.STOPPED: "Stopped, as you asked. Nothing was posted.",
    Reason.RESTARTING: "I have to restart now. Please run the command again in a minute.",
    Reason.NEVER_SLEEPS: "The voice engine here never sleeps, so there's nothing to warm up.",
    Reason.MAY_NOT_POST: (
        "I'm not allowed to post here. "
        "Ask an admin for Send Messages and Attach Files, then run it again."
    ),
    Reason.NOT_POSTED: ("I couldn't reach Discord to post that. Please run it again in a minute."),
    Reason.RECONNECTING: (
        "I'm reconnecting to Discord, so I can't see who's in a voice channel yet. "
        "Please try again in a minute."
    ),
    Reason.JOIN_FIRST: "Join a voice channel first, then use `/join` again.",
    Reason.JOIN_FIRST_OR_FILE: f"Join a voice channel first, {_OR_FILE}.",
    Reason.IN_ANOTHER_CHANNEL: (
        f"I'm with people in {{channel}} right now. Join me there, {_OR_FILE}."
    ),
    Reason.NOT_IN_A_CHANNEL: "I'm not in a voice channel. `/say` and `/join` bring me into yours.",
    Reason.MAY_NOT_JOIN: (
        "I'm not allowed to join {channel}. "
        "Ask an admin to give me the View Channel and Connect permissions there."
    ),
    Reason.MAY_NOT_SPEAK: (
        "I'm not allowed to speak in {channel}. Ask an admin to give me the Speak permission there."
    ),
    Reason.MAY_NOT_SPEAK_ON_STAGE: (
        "I'm not allowed to speak on the stage {channel}. "
        "Ask an admin to give me the Request to Speak permission there."
    ),
    Reason.CHANNEL_FULL: "{channel} is full. Try again when somebody has left.",
    Reason.NO_OPUS: (
        "I can't speak in voice channels: the computer I run on lacks the Opus library. "
        "Please tell whoever runs this bot. Until then, use `/say` with `where: file`."
    ),
    Reason.NO_LONGER_IN_GUILD: "I'm no longer in that server.",
    Reason.REMOVED_FROM_GUILD: "I was removed from that server.",
    Reason.EVERYBODY_LEFT: "Everybody left the voice channel, so I left too.",
    Reason.DISCONNECTED: (
        "I was disconnected from the voice channel. Use `/say` again to bring me back."
    ),
    Reason.VOICE_RATE_LIMITED: (
        "Discord asked me to stay out of voice channels for a moment. Please try again in a minute."
    ),
    Reason.NO_VOICE_CONNECTION: (
        f"I couldn't connect to the voice channel. Please try again in a minute, {_OR_FILE}."
    ),
    Reason.VOICE_CONNECTION_LOST: (
        "I lost the connection to the voice channel and couldn't get it back. "
        f"Please try again in a minute, {_OR_FILE}."
    ),
    Reason.CANNOT_BE_HEARD: (
        "Nobody could hear me: I'm muted, or not a speaker on the stage. "
        "Ask a moderator to let me speak, then try again."
    ),
    Reason.PARTLY_UNHEARD: (
        "Discord's voice server didn't answer for a while as I spoke, so part of it may not have "
        "been heard. "
        "If something was missed, please use `/say` again."
    ),
    Reason.PLAYER_FAILED: (
        "Something broke on my side while I was speaking. Please try again in a minute."
    ),
    Reason.PLAYER_RESTARTING: "I have to restart now. Please use `/say` again in a minute.",
    Reason.OWN_QUEUE_FULL: (f"Your queue is full ({{limit}}). Wait for one to finish, {_OR_FILE}."),
    Reason.QUEUE_FULL: (
        f"This server's queue is full ({{limit}}). Wait for one to finish, {_OR_FILE}."
    ),
    Reason.NOTHING_PLAYING: "Nothing is playing.",
    Reason.NOTHING_OF_YOURS_PLAYING: "You have nothing playing or queued.",
    Reason.OTHERS_WAIT: (
        "I'm still speaking for others. Wait until they're done, "
        "or ask someone with the Move Members permission."
    ),
    Reason.OTHERS_LISTEN: (
        "Others are still listening to me. Wait until they're done, "
        "or ask someone with the Move Members permission."
    ),
    Reason.ONLY_LISTENERS_VOTE: (
        "Only people listening in {channel} can vote. Join, then try again."
    ),
    Reason.SPEECH_STOPPED: "Stopped, as you asked.",
    Reason.SKIPPED: "Skipped, as you asked.",
    Reason.SKIPPED_BY: "{name} skipped this.",
    Reason.SKIPPED_BY_VOTE: "The listeners voted to skip this.",
    Reason.ALL_STOPPED_BY: "{name} stopped everything.",
    Reason.SENT_AWAY_BY: "{name} sent me away with `/leave`.",
    **report_wording.REFUSALS,
    # Who may speak, and where
    Reason.MEMBER_MUTED: (
        f"A moderator has muted you, so I can't speak for you in voice. Wait until you're unmuted, "
        f"{_OR_FILE}."
    ),
    Reason.MEMBER_IN_AUDIENCE: (
        f"You're in the stage's audience, so I can't speak for you. Ask to speak first, {_OR_FILE}."
    ),
    Reason.MEMBER_MAY_NOT_SPEAK: (
        "You're not allowed to speak in this voice channel, so I can't speak for you either. "
        f"Join another one, {_OR_FILE}."
    ),
    Reason.MEMBER_TIMED_OUT: (
        "You're timed out in this server, so I can't speak for you. "
        "Please try again when that's over."
    ),
    Reason.MEMBER_GONE: "You're no longer in that server, so I stopped speaking for you there.",
    Reason.AFK_CHANNEL: (
        f"Nobody can speak in the AFK channel. Join another voice channel, {_OR_FILE}."
    ),
    Reason.MOVED_AWAY: (
        "I was moved to another voice channel before I was done. "
        "Use `/say` again where you want to hear me."
    ),
    Reason.IN_HIDDEN_CHANNEL: (
        f"I'm with people in another voice channel right now. Try again later, {_OR_FILE}."
    ),
    Reason.VOICE_DELETED_MEANWHILE: "That voice was deleted, so I stopped speaking with it.",
    **moderation_wording.REFUSALS,
    **sharing_wording.REFUSALS,
    **menu_wording.REFUSALS,
    Reason.ONLY_IN_SERVERS: "That works only in a server. Use it in one that I'm in.",
    **access_wording.REFUSALS,
}

REMARKS: dict[Remark, str] = {
    **recording_wording.REMARKS,
    **limit_wording.REMARKS,
    Remark.STAGE_INVITATION_NEEDED: "Ask a moderator to invite me to speak on the stage {channel}.",
    Remark.ASKED_TO_SPEAK_ON_STAGE: (
        "I asked to speak on the stage {channel}. A moderator has to accept."
    ),
}


def explain(error: Refusal | SpeechError) -> str:
    """Put an expected failure into a sentence for the person who met it."""
    if isinstance(error, Refusal):
        return REFUSALS[error.reason].format(**_shown(error.values))
    return explain_speech_error(error)


def note(what: Note) -> str:
    """Put a remark into a sentence."""
    return REMARKS[what.remark].format(**_shown(what.values))


def said_late(seconds: float, *, has_begun: bool) -> str:
    """Say when speech begins, or goes on, that is produced more slowly than it is heard."""
    verb = "goes on" if has_begun else "starts"
    return f"Speech is made slower than it's heard here, so it {verb} in {about(seconds)}."


def about(seconds: float) -> str:
    """About how long something takes, rather too long than too short."""
    if seconds < A_FEW_SECONDS:
        return "a few seconds"
    if seconds <= MINUTE - ROUND_SECONDS:
        return f"about {math.ceil(seconds / ROUND_SECONDS) * ROUND_SECONDS} seconds"
    minutes = math.ceil(seconds / MINUTE)
    return "about a minute" if minutes == 1 else f"about {minutes} minutes"


def engine_state(problem: SpeechError | TimeoutError | None) -> str:
    """Say how the voice engine is doing, given what its health check raised."""
    if problem is None:
        return "It's ready."
    if isinstance(problem, SpeechError):
        return explain(problem)
    return "It hasn't answered yet; it may be waking up."


def link_commands(words: str, ids: Mapping[str, int]) -> str:
    """Turn each `/command` in backticks into Discord's link to it, if its id is known.

    Discord shows the link in messages and embeds as the command's name, to be clicked. Text that
    people typed is left alone, since its backticks are escaped.

    Args:
        words: What a message or a part of an embed says.
        ids: The ids of commands by their names; a subcommand has the id of its group.
    """

    def link(command: re.Match[str]) -> str:
        name = command[1]
        known = ids.get(name.split()[0])
        return command[0] if known is None else f"</{name}:{known}>"

    return _COMMAND.sub(link, words)


def engine_name(model_id: str) -> str:
    """What people call the voice engine that has a model; a folder's name for one of its own."""
    if model_id.startswith("preview/"):
        return "Preview voice"
    name = model_id.partition("@")[0]
    published = _PUBLISHED.fullmatch(name)
    return f"Qwen3-TTS {published[1]}" if published else as_text(name)


def engine_notices(backend: BackendInfo) -> list[str]:
    """What has to be said of a voice engine that doesn't clone, or doesn't mark its clones."""
    if not backend.clones:
        return [PREVIEW_NOTICE]
    return [] if backend.marks else [UNMARKED_NOTICE]


def mentions(pattern: str, ids: Iterable[int]) -> str:
    """Mentions of roles (`<@&{}>`) or channels (`<#{}>`) in a sentence: "A, B or C"."""
    *others, last = [pattern.format(each) for each in ids]
    if len(others) >= MAX_MENTIONS:
        others, last = others[:MAX_MENTIONS], "another"
    return f"{', '.join(others)} or {last}" if others else last


def _shown(values: dict[str, Value]) -> dict[str, Value]:
    """Put values into words: what a person typed, ids, and lengths, see `bot.errors.Value`."""
    return {
        name: _WORDS_FOR[name](value) if name in _WORDS_FOR else value
        for name, value in values.items()
    }


_WORDS_FOR: dict[str, Callable[[Any], Value]] = {
    "name": lambda value: as_text(str(value)),
    "voices": lambda value: as_text(str(value)),
    "roles": lambda ids: mentions("<@&{}>", map(int, str(ids).split())),
    "channels": lambda ids: mentions("<#{}>", map(int, str(ids).split())),
    "wanted": partial(limit_wording.whole_seconds, rounded=math.ceil),
    "left": limit_wording.whole_seconds,
    "most": limit_wording.whole_seconds,
}
