"""The sentences about recordings: why one can't be used, what was noticed in it, who made it."""

from __future__ import annotations

from backend.contract import MAX_CHECKED_SECONDS
from bot.errors import Reason, Remark

REFUSALS: dict[Reason, str] = {
    Reason.UPLOAD_EMPTY: "That file is empty. Please save the recording again and send that.",
    Reason.UPLOAD_TOO_LARGE: (
        "That file is larger than {megabytes} MB, the most I can take. "
        "Ten seconds of speech are enough: send a shorter recording, or save it as mp3."
    ),
    Reason.UPLOAD_NOT_FETCHED: "I couldn't fetch that file from Discord. Please send it again.",
    Reason.NOT_A_RECORDING: (
        "I can't find a recording in that file. It may be damaged, or a video without sound. "
        "Send wav, mp3, m4a, ogg, flac, webm or mp4."
    ),
    Reason.RECORDING_KIND_UNKNOWN: (
        "That's a kind of recording I can't read. "
        "Save it as wav, mp3, m4a, ogg, flac, webm or mp4 and send that."
    ),
    Reason.DECODER_BROKEN: (
        "I can't read any recording at the moment. That's my fault, not your file's. "
        "Please tell whoever runs this bot, and try again later."
    ),
    Reason.RECORDING_TOO_SLOW: (
        "That file takes too long to read. Save it again as wav or mp3 and send that."
    ),
    Reason.RECORDING_DAMAGED: (
        "That recording is damaged. Save it again as wav or mp3 and send that."
    ),
    Reason.RECORDING_SILENT: (
        "That recording is silent, or too quiet to use. "
        "Record closer to the microphone and try again."
    ),
    Reason.NO_SPEECH: (
        "I can't hear any speech in that file. "
        "Record one person talking, without music, and send that."
    ),
    Reason.TOO_LITTLE_SPEECH: (
        "I need at least {minimum:.0f} seconds. Without its silence, this has {seconds}. "
        "Ten seconds work best."
    ),
    Reason.MOSTLY_PAUSES: (
        "I hear only {seconds} seconds of speech in that recording. "
        "Record one person who speaks for at least {minimum:.0f} seconds, without long pauses."
    ),
    Reason.TOO_LITTLE_SPEECH_IN_LONG_RECORDING: (
        "I hear hardly any speech in the first {minutes} minutes, which is all I listen to. "
        "Send just the part where one person speaks."
    ),
    Reason.TOO_LONG_FOR_TRANSCRIPT: (
        "Your recording is {seconds:g} seconds long. Shortened, it wouldn't match your "
        "transcript. Send at most {maximum:.0f} seconds, or leave the transcript out."
    ),
    Reason.MUCH_TOO_LONG_FOR_TRANSCRIPT: (
        "Your recording is more than {minutes} minutes long. Shortened, it wouldn't match your "
        "transcript. Send at most {maximum:.0f} seconds, or leave the transcript out."
    ),
    Reason.TOO_MANY_UPLOADS: "I'm busy with other recordings. Please try again in a minute.",
    Reason.NOTHING_IS_MARKED: (
        "I can't tell here, because the voice engine I speak with leaves no mark in its speech."
    ),
    Reason.PREVIEW_MARKS_NOTHING: (
        "I can't tell here: this is the preview, which leaves no mark in its speech."
    ),
}

REMARKS: dict[Remark, str] = {
    Remark.RECORDING_SHORTENED: (
        "Your recording is {seconds:.0f} seconds long, so I used its clearest {used:.0f}."
    ),
    Remark.LONG_RECORDING_SHORTENED: (
        "Your recording is more than {minutes} minutes long, "
        "so I used the clearest {used:.0f} seconds of the first {minutes} minutes."
    ),
    Remark.RECORDING_CLIPS: "The recording clips. Record it quieter for a better voice.",
    Remark.RECORDING_HAS_MUSIC: (
        "There's music or a hum in the recording. Record it without for a better voice."
    ),
    Remark.RECORDING_HAS_TWO_VOICES: (
        "I hear more than one voice in the recording. Record one person alone for a better voice."
    ),
    Remark.RECORDING_NOISY: (
        "There's a lot of noise in the recording. Record it somewhere quieter for a better voice."
    ),
}

_MARKED = (
    "That's most likely mine: it carries the inaudible mark that's in everything I say. "
    "A few other programs leave the same mark, and a steady tone behind a voice can look like it."
)
_REPORT_IT = "If it shouldn't have been said, `/report` tells those who can act on it."
_UNMARKED = (
    "I found no mark of mine in that, so I most likely didn't make it. That isn't proof: "
    "loud noise, heavy editing, or less than a second of speech can hide the mark."
)
_ONLY_ITS_BEGINNING = (
    "I listened to the first {minutes:.0f} minutes only. To check the rest, send it on its own."
)


def verdict_on(*, is_marked: bool, goes_on: bool, on_discord: bool = True) -> str:
    """Say whether the bot made a recording.

    Args:
        is_marked: Whether the watermark was found in it.
        goes_on: Whether only the first `MAX_CHECKED_SECONDS` were searched.
        on_discord: Whether whoever asked can use commands.
    """
    if is_marked:
        return f"{_MARKED} {_REPORT_IT}" if on_discord else _MARKED
    beginning = _ONLY_ITS_BEGINNING.format(minutes=MAX_CHECKED_SECONDS / 60)
    return f"{_UNMARKED} {beginning}" if goes_on else _UNMARKED
