"""The sentences of the HTTP API, where those for Discord speak of commands, buttons or messages.

Whoever reads them is a programmer, so they name fields and settings. No escaping is needed.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from backend import contract
from bot.errors import Reason, Refusal
from bot.interface.wording.engine import explain_speech_error
from bot.interface.wording.limits import whole_seconds
from bot.interface.wording.sentences import REFUSALS as ON_DISCORD
from bot.voices.consent import EITHER_PERMISSION, STATEMENTS, Permission

if TYPE_CHECKING:
    from backend.contract import SpeechError
    from bot.errors import Value

CONSENT_NEEDED = (
    "This needs the speaker's consent. "
    f"Send `consent`: “{Permission.OWN}” or “{Permission.GIVEN}” (or true, for one of both). "
    f"By that you confirm: “{STATEMENTS[EITHER_PERMISSION]}”"
)

_SHORTEN = "Shorten it, or try again at {again}."

REFUSALS: dict[Reason, str] = {
    Reason.UPLOAD_NOT_FETCHED: (
        "The recording couldn't be read. Send the file itself, or another https address of it."
    ),
    Reason.NAME_TAKEN: "You already have a voice with that name. Take another, or delete that one.",
    Reason.NO_SUCH_VOICE: (
        "There's no voice with that name for you. GET /v1/audio/voices lists those that you can "
        "use; "
        "POST /v1/audio/voices saves one. Or send a recording as `ref_audio`."
    ),
    Reason.NO_VOICE_YET: (
        "You have no saved voice yet. Save one with POST /v1/audio/voices, "
        "or send a recording as `ref_audio`."
    ),
    Reason.TOO_MANY_VOICES: "You already have {limit} voices, the most that are kept. Delete one.",
    Reason.VOICE_DELETED: "That voice was deleted.",
    Reason.VOICE_DELETED_MEANWHILE: "That voice was deleted, so the speech was stopped.",
    Reason.CLIP_DAMAGED: (
        "The saved recording of that voice is damaged. Delete the voice, and save it again."
    ),
    Reason.VOICE_NOT_SHARED: "That voice isn't shared with you, or not any more.",
    Reason.DEFAULT_NOT_SHARED: "Your default voice can be used in its server only. Name a `voice`.",
    Reason.LAST_NOT_SHARED: "The voice you used last isn't yours. Name a `voice`.",
    Reason.VOICE_UNSHARED_MEANWHILE: "That voice may not be used any more.",
    Reason.RESTARTING: "The service is restarting. Please try again in a minute.",
    Reason.STOPPED: "The request was stopped.",
    Reason.BLOCKED_EVERYWHERE: (
        "Whoever runs this service has blocked you from using it. "
        "Please ask them if you think that's a mistake."
    ),
    Reason.VOICE_FROZEN: (
        "That voice may not be used now: somebody says it's theirs, or reported it. "
        "Whoever runs this service decides about it."
    ),
    Reason.VOICE_REMOVED: "Whoever runs this service decided that this voice may not be used.",
    Reason.VOICE_FROZEN_HERE: (
        "That voice was reported in the server where it's shared with you, "
        "so it may not be used until the admins there decide."
    ),
    Reason.VOICE_REMOVED_HERE: (
        "The admins of the server where that voice is shared with you have removed it there."
    ),
    Reason.OTHERS_CONSENT_NOT_SPOKEN: (
        "The server where {name} is shared with you only takes voices whose speaker read a "
        "sentence aloud. Use another voice, or ask its owner to save it again there."
    ),
    Reason.BLOCKED_HERE: (
        "An admin of the server where that voice is shared with you has blocked you there. "
        "Use another voice, or ask them if you think that's a mistake."
    ),
    Reason.VOICE_OWNER_BLOCKED: (
        "The owner of that voice is blocked where it's shared with you. Use another voice."
    ),
    Reason.SEVERAL_VOICES: (
        "Several voices with that name are shared with you: {voices}. Send one of these as `voice`."
    ),
    Reason.SERVER_BUSY: (
        "{count} requests already run in the server where that voice is shared with you. "
        "Wait for one to end."
    ),
    Reason.SERVER_SPEECH_USED_UP: (
        "The server where that voice is shared with you has used all its speech for today. "
        "You get more at {again}, or use a voice of your own."
    ),
    Reason.SERVER_SPEECH_TOO_LITTLE: (
        "That takes about {wanted} of speech, and the server where that voice is shared with you "
        f"has {{left}} left today. {_SHORTEN}"
    ),
    Reason.TOO_MANY_COMMANDS: "You already have {count} requests running. Wait for one to end.",
    Reason.TOO_MANY_REQUESTS: (
        "Each person can make {limit} requests a minute. You can go on at {again}."
    ),
    Reason.OWN_SPEECH_USED_UP: "You've used all your speech for today. You get more at {again}.",
    Reason.OWN_SPEECH_TOO_LITTLE: (
        f"That takes about {{wanted}} of speech, and you have {{left}} left today. {_SHORTEN}"
    ),
    Reason.ALL_SPEECH_USED_UP: (
        "All speech that can be made today is used up, by everybody together. "
        "Please try again at {again}."
    ),
    Reason.ALL_SPEECH_TOO_LITTLE: (
        f"That takes about {{wanted}} of speech, and {{left}} are left for everybody today. "
        f"{_SHORTEN}"
    ),
}
"""Sentences in place of those for Discord. A reason that isn't here has the same sentence there."""


def explain_to_client(error: Refusal | SpeechError) -> str:
    """Put an expected failure into a sentence for whoever wrote the client."""
    if isinstance(error, Refusal):
        sentence = REFUSALS.get(error.reason, ON_DISCORD[error.reason])
        return sentence.format(
            **{name: _shown(name, value) for name, value in error.values.items()}
        )
    if isinstance(error, contract.ConsentMissingError):
        return CONSENT_NEEDED
    return explain_speech_error(error)


def _shown(name: str, value: Value) -> Value:
    """Put a value into words, see `bot.errors.Value`."""
    match name:
        case "again":
            return f"{datetime.fromtimestamp(float(value), UTC):%Y-%m-%d %H:%M:%S} UTC"
        case "wanted":
            return whole_seconds(float(value), rounded=math.ceil)
        case "left" | "most":
            return whole_seconds(float(value))
        case _:
            return value
