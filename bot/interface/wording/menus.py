"""The sentences about the menus of messages, and the button below speech."""

from __future__ import annotations

from bot.errors import Reason

REFUSALS: dict[Reason, str] = {
    Reason.NOTHING_TO_SAY_AGAIN: (
        "I can't find the text in that message any more, and I keep it nowhere else. "
        "Use `/say` with the text."
    ),
    Reason.SAYING_IT_AGAIN: "I'm already saying that again for you. It'll be here in a moment.",
    Reason.MESSAGE_WITHOUT_TEXT: (
        "There's no text in that message, so I have nothing to say. "
        "Pick a message with words, or use `/say`."
    ),
    Reason.MESSAGE_WITHOUT_RECORDING: (
        "There's no recording in that message. Pick one with an audio or video file, or with a "
        "voice message. Or attach a recording to `/clone`."
    ),
    Reason.MESSAGE_IS_SPEECH: (
        "I made that speech myself, with somebody's voice. "
        "If you'd like to use the voice, ask its owner to share it with `/voice share`."
    ),
}
