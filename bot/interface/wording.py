"""Every sentence for the reasons, remarks and errors that the rest of the bot raises as codes.

What people typed is escaped here as well, where it becomes a part of a sentence.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import discord

from backend import contract
from backend.contract import AUTO_LANGUAGE, SpeechError
from bot.errors import Note, Reason, Refusal, Remark
from bot.speech import errors
from bot.studio import Step

if TYPE_CHECKING:
    from bot.errors import Value

PREVIEW_NOTICE = "This is a preview: a stock English voice that leans toward yours, not a clone."

MAX_EXCERPT_CHARACTERS = 300
MIN_RETRY_SECONDS = 5

_MARKUP = re.compile(r"[\\*_~|`<>\[\]()#]")
_SPOILER = re.compile(r"\|\|.+?\|\|", re.DOTALL)

_ASK_FOR_FILE = "or use `/say` with `where: file`"

STEPS: dict[Step, str] = {
    Step.LISTENING: "Listening to your recording",
    Step.LEARNING: "Learning the voice",
}

REFUSALS: dict[Reason, str] = {
    Reason.TEXT_TOO_LONG: (
        "That text has {characters:,} characters; I can say up to {limit:,} at once. "
        "Please split it."
    ),
    Reason.NOTHING_TO_SAY: "There is nothing in that text I can say aloud. Try it with words.",
    Reason.UPLOAD_EMPTY: "That file is empty. Save the recording again, and send that.",
    Reason.UPLOAD_TOO_LARGE: (
        "That file is larger than {megabytes} MB, the most I can take. "
        "Ten seconds of speech are enough: send a shorter recording, or save it as mp3."
    ),
    Reason.UPLOAD_NOT_FETCHED: "I couldn't fetch that file from Discord. Please send it again.",
    Reason.NOT_A_RECORDING: (
        "That file is not a recording I can read. Send wav, mp3, m4a, ogg, flac, webm or mp4."
    ),
    Reason.RECORDING_TOO_SLOW: (
        "That file takes too long to read. Save it again as wav or mp3, and send that."
    ),
    Reason.RECORDING_DAMAGED: (
        "That recording is damaged. Save it again as wav or mp3, and send that."
    ),
    Reason.RECORDING_SILENT: (
        "That recording is silent, or too quiet to use. "
        "Record closer to the microphone, and try again."
    ),
    Reason.NO_SPEECH: (
        "This file has no speech I can hear. "
        "Record one person talking, without music, and send that."
    ),
    Reason.TOO_LITTLE_SPEECH: (
        "I need at least {minimum:.0f} s of speech; this has {seconds} s. "
        "Record a little more, and try again."
    ),
    Reason.TOO_LITTLE_SPEECH_IN_LONG_RECORDING: (
        "I listen to the first {minutes} minutes and hear too little speech there. "
        "Cut out the part with the speech, and send that."
    ),
    Reason.SPEECH_TOO_SCATTERED: (
        "The speech in that recording is too scattered: I need at least "
        "{minimum:.0f} s of it within 20 s. Record again, with shorter pauses."
    ),
    Reason.TOO_LONG_FOR_TRANSCRIPT: (
        "Your recording is {seconds:.0f} s long. If I shortened it, it would no longer match your "
        "transcript: send at most {maximum:.0f} s, or leave the transcript out."
    ),
    Reason.MUCH_TOO_LONG_FOR_TRANSCRIPT: (
        "Your recording is more than {minutes} minutes long. If I shortened it, it would no longer "
        "match your transcript: send at most {maximum:.0f} s, or leave the transcript out."
    ),
    Reason.TOO_MANY_UPLOADS: "I am busy with other recordings. Please try again in a minute.",
    Reason.NAME_EMPTY: "A voice needs a name. Type one that you will recognise later.",
    Reason.NAME_TOO_LONG: "That name is too long. Use at most {limit} characters.",
    Reason.NAME_HIDES_CHARACTERS: (
        "That name holds line breaks or invisible characters. "
        "Type it with letters, digits, spaces and emoji only."
    ),
    Reason.NAME_INVISIBLE: "That name would look empty. Add a letter, a digit or an emoji.",
    Reason.NAME_TAKEN: (
        "You already have a voice with that name. "
        "Pick another name, or delete the old one with `/voice delete`."
    ),
    Reason.NO_SUCH_VOICE: (
        "You have no voice with that name. "
        "See the ones you have with `/voice list`, or make one with `/clone`."
    ),
    Reason.NO_VOICE_YET: (
        "You have no saved voice yet. "
        "Make one with `/clone`: attach a recording and give it a `name`."
    ),
    Reason.TOO_MANY_VOICES: (
        "You can keep {limit} voices, and you have that many. "
        "Delete one with `/voice delete` to make room."
    ),
    Reason.CONSENT_NEEDED: (
        "A voice can be saved only after you agree to the consent statement. "
        "Use `/clone` again and agree to it."
    ),
    Reason.CONSENT_REFUSED: (
        "Nothing was cloned and nothing was kept. "
        "Use `/clone` again when you have the speaker's permission."
    ),
    Reason.VOICE_DELETED: "That voice was deleted meanwhile, so nothing was posted.",
    Reason.CLIP_DAMAGED: (
        "The recording of that voice is damaged. Delete the voice with `/voice delete`, "
        "then make it again with `/clone`."
    ),
    Reason.TRANSCRIPT_EMPTY: (
        "That transcript is empty. Please write what is said in the recording."
    ),
    Reason.VOICE_KEPT: "Kept. **{name}** is still there.",
    Reason.EVERYTHING_KEPT: "Kept. Nothing was deleted.",
    Reason.TOO_MANY_COMMANDS: (
        "I am working on {count} commands of yours already. "
        "Wait for one of them, or stop it, then try again."
    ),
    Reason.STOPPED: "Stopped, as you asked. Nothing was posted.",
    Reason.RESTARTING: "I have to restart now. Please run the command again in a minute.",
    Reason.NEVER_SLEEPS: "The voice engine here never sleeps, so there is nothing to warm up.",
    Reason.MAY_NOT_POST: "The speech is ready, but I may not post here. Ask an admin to let me.",
    Reason.JOIN_FIRST: "Join a voice channel first, then use `/join` again.",
    Reason.JOIN_FIRST_OR_FILE: f"Join a voice channel first, {_ASK_FOR_FILE}.",
    Reason.IN_ANOTHER_CHANNEL: (
        f"I am with the people in {{channel}} now. Join me there, {_ASK_FOR_FILE}."
    ),
    Reason.NOT_IN_A_CHANNEL: (
        "I am not in a voice channel. Join one yourself, then use `/say` or `/join`."
    ),
    Reason.MAY_NOT_JOIN: (
        "I may not join {channel}. "
        "Ask an admin to give me the permissions View Channel and Connect there."
    ),
    Reason.MAY_NOT_SPEAK: (
        "I may not speak in {channel}. Ask an admin to give me the permission Speak there."
    ),
    Reason.MAY_NOT_SPEAK_ON_STAGE: (
        "I may not speak on the stage {channel}. "
        "Ask an admin to give me the permission Request to Speak there."
    ),
    Reason.CHANNEL_FULL: "{channel} is full. Try again when somebody has left.",
    Reason.NO_OPUS: (
        "I can't speak in voice channels here: this machine lacks the Opus library. "
        "Please tell an admin, and use `/say` with `where: file` meanwhile."
    ),
    Reason.NO_LONGER_IN_GUILD: "I am no longer on that server.",
    Reason.REMOVED_FROM_GUILD: "I was removed from that server.",
    Reason.EVERYBODY_LEFT: "Everybody had left the voice channel, so I left too.",
    Reason.DISCONNECTED: (
        "I was disconnected from the voice channel. Use `/say` again to have me back."
    ),
    Reason.VOICE_RATE_LIMITED: (
        "Discord asked me to stay out of voice channels for a moment. Please try again in a minute."
    ),
    Reason.NO_VOICE_CONNECTION: (
        f"I could not connect to the voice channel. Please try again in a minute, {_ASK_FOR_FILE}."
    ),
    Reason.VOICE_CONNECTION_LOST: (
        "I lost the connection to the voice channel and could not get it back. "
        f"Please try again in a minute, {_ASK_FOR_FILE}."
    ),
    Reason.CANNOT_BE_HEARD: (
        "Nobody could hear me: I am muted, or not among the speakers of the stage. "
        "Ask a moderator to let me speak, then try again."
    ),
    Reason.PLAYER_FAILED: (
        "Something broke on my side while I spoke. Please try again in a minute."
    ),
    Reason.PLAYER_RESTARTING: "I have to restart now. Please use `/say` again in a minute.",
    Reason.OWN_QUEUE_FULL: (
        "You have as much in the queue as I take. "
        f"Wait until some of it was heard, {_ASK_FOR_FILE}."
    ),
    Reason.QUEUE_FULL: (
        "This server has as much in the queue as I take. "
        f"Wait until some of it was heard, {_ASK_FOR_FILE}."
    ),
    Reason.NOTHING_PLAYING: "I am not saying anything.",
    Reason.NOTHING_OF_YOURS_PLAYING: "Nothing of yours is being said or waits to be.",
    Reason.OTHERS_WAIT: (
        "I am still speaking for others. Wait until they are done, "
        "or ask somebody who has the permission Move Members."
    ),
    Reason.OTHERS_LISTEN: (
        "Others are still listening to me. Wait until they are done, "
        "or ask somebody who has the permission Move Members."
    ),
    Reason.ONLY_LISTENERS_VOTE: "Only who listens in {channel} can vote to skip.",
    Reason.SPEECH_STOPPED: "Stopped, as you asked.",
    Reason.SKIPPED: "Skipped, as you asked.",
    Reason.SKIPPED_BY: "{name} skipped this.",
    Reason.SKIPPED_BY_VOTE: "The listeners voted to skip this.",
    Reason.ALL_STOPPED_BY: "{name} stopped everything.",
    Reason.SENT_AWAY_BY: "{name} used `/leave`.",
}

REMARKS: dict[Remark, str] = {
    Remark.RECORDING_SHORTENED: (
        "Your recording is {seconds:.0f} s long, so I used its clearest {used:.0f} s."
    ),
    Remark.LONG_RECORDING_SHORTENED: (
        "Your recording is more than {minutes} minutes long, "
        "so I used its clearest {used:.0f} s of the first {minutes} minutes."
    ),
    Remark.RECORDING_CLIPS: (
        "The recording is distorted because it was recorded too loud; "
        "a softer one would make a better voice."
    ),
    Remark.RECORDING_NOISY: (
        "There is a lot of noise in the recording; "
        "one from a quieter place would make a better voice."
    ),
    Remark.STAGE_INVITATION_NEEDED: (
        "A moderator has to invite me to speak on the stage {channel}."
    ),
    Remark.ASKED_TO_SPEAK_ON_STAGE: (
        "I asked to speak on the stage {channel}; a moderator has to let me."
    ),
}

_SPEECH_ERRORS: dict[type[SpeechError], str] = {
    SpeechError: (
        "The voice engine could not do that. Please try again; if it keeps failing, tell an admin."
    ),
    contract.TextNotSpeakableError: (
        "I can't say part of that text aloud. Try plain words and shorter sentences."
    ),
    contract.ConsentMissingError: (
        "I need your consent before I clone a voice. Use `/clone` and confirm the statement."
    ),
    contract.ReferenceUnusableError: (
        "I couldn't make a voice from this recording. "
        "Try another one: a single speaker, close to the microphone, without music."
    ),
    contract.BackendUnavailableError: (
        "The voice engine is not reachable right now. Nothing is lost; please try again later."
    ),
    contract.GenerationFailedError: (
        "The voice engine gave no usable speech this time. Please try again."
    ),
    errors.BackendNotDeployedError: (
        "The voice engine is not set up yet. Please tell an admin: it has to be deployed to Modal. "
        "I find it by myself once it is there."
    ),
    errors.BackendDeniesError: (
        "The voice engine does not let me in. Please tell an admin: "
        "the bot's Modal token has to be renewed."
    ),
    errors.BackendBrokenError: (
        "The voice engine does not work as it is set up. "
        "Please tell an admin: its log, and mine, say what is wrong."
    ),
    errors.BackendQuotaError: (
        "The voice engine has reached its quota for now. "
        "Please try again later, or ask an admin to raise it."
    ),
    errors.SpeechTimeoutError: (
        "That took the voice engine too long, so I stopped it. "
        "Please try again; a shorter text may help."
    ),
    errors.WakingTimeoutError: (
        "The voice engine did not wake up in time. Please try again in a minute; "
        "if that fails too, tell an admin."
    ),
    errors.SpeechInterruptedError: (
        "The voice engine broke down while it worked on that. "
        "Another one starts by itself: please try again in a minute."
    ),
    errors.SpeechStoppedError: (
        "Someone stopped that at the voice engine before it was done. Please try again."
    ),
}
"""Sentences for kinds of errors; any other kind has the sentence of its nearest base class."""


def explain(error: Refusal | SpeechError) -> str:
    """Put an expected failure into a sentence for the person who met it."""
    match error:
        case Refusal():
            return REFUSALS[error.reason].format(**_escaped(error.values))
        case contract.LanguageNotSupportedError():
            spoken = ", ".join(name for name in error.supported if name != AUTO_LANGUAGE)
            return f"I can't speak {error.language} here yet. This voice engine speaks {spoken}."
        case contract.BackendBusyError():
            when = "in a moment" if error.retry_after is None else _soon(error.retry_after)
            return f"Many people are speaking right now. Please try again {when}."
        case errors.BackendUnreachableError():
            sentence = "I can't reach the voice engine right now."
            if error.retry_after is None:
                return f"{sentence} Please try again in a minute."
            when = _soon(error.retry_after)
            return f"{sentence} I look for it again {when}; please try again then."
        case _:
            kinds = type(error).__mro__
            return next(_SPEECH_ERRORS[kind] for kind in kinds if kind in _SPEECH_ERRORS)


def note(what: Note) -> str:
    """Put a remark into a sentence."""
    return REMARKS[what.remark].format(**_escaped(what.values))


def engine_state(problem: SpeechError | TimeoutError | None) -> str:
    """Say how the voice engine is doing, given what its health check raised."""
    if problem is None:
        return "It is ready."
    if isinstance(problem, SpeechError):
        return explain(problem)
    return "It has not answered yet; it may be waking up."


def voice_name(name: str) -> str:
    """A voice's name as text that Discord shows to the letter."""
    return f"**{as_text(name)}**"


def as_text(typed: str) -> str:
    """Someone's text to the letter: no markup, no mention, no masked link, no timestamp.

    Discord shows any punctuation behind a backslash as it is. discord.py's `escape_markdown` is not
    used, because it leaves some brackets alone and so lets masked links through.
    """
    return _MARKUP.sub(r"\\\g<0>", discord.utils.escape_mentions(typed))


def excerpt(typed: str, *, max_characters: int = MAX_EXCERPT_CHARACTERS) -> str:
    """Someone's text on one line: shortened, spoilers hidden, everything else to the letter."""
    flat = " ".join(_SPOILER.sub("▮▮▮", typed).split())
    if len(flat) > max_characters:
        flat = flat[: max_characters - 1].rstrip() + "…"
    return as_text(flat)


def _escaped(values: dict[str, Value]) -> dict[str, Value]:
    """Escape what a person typed, which is always the value called `name`."""
    return {key: as_text(str(value)) if key == "name" else value for key, value in values.items()}


def _soon(seconds: float) -> str:
    return f"in about {max(MIN_RETRY_SECONDS, round(seconds))} s"
