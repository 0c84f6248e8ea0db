"""The forms of requests and answers, as clients of OpenAI and of Qwen3-TTS servers know them."""

# FastAPI reads the annotations here at run time.

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from backend.contract import MAX_NEW_TOKENS, MAX_TRANSCRIPT_CHARACTERS
from backend.sent_audio import MAX_BASE64_CHARACTERS
from bot.audio.stream_encode import StreamFormat
from bot.audio.tempo import MAX_SPEED, MIN_SPEED
from bot.voices.names import MAX_NAME_CHARACTERS

MAX_INPUT_CHARACTERS = 4_096
"""The same as OpenAI's."""

MAX_REF_AUDIO_CHARACTERS = MAX_BASE64_CHARACTERS + 1_024
"""Of base64 in a data URL, whose beginning says what it is."""

HIGHEST_SEED = 2**63 - 1


def _readable(text: str) -> str:
    """Refuse characters that no text has, and that databases don't store."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("it holds a character that is no text")
    return text


Readable = AfterValidator(_readable)
"""For texts. It stands behind the bounds of their length, so that those are checked first."""

Consent = bool | Annotated[str, Field(max_length=500), Readable]


class VoiceId(BaseModel):
    """A voice by its id, as OpenAI's clients name their own voices."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(max_length=MAX_NAME_CHARACTERS, examples=["voice_12"]), Readable]


class SpeechBody(BaseModel):
    """What to say, with which voice, and how."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    input: Annotated[str, Field(min_length=1, max_length=MAX_INPUT_CHARACTERS), Readable]
    """What to say."""

    model: Annotated[str, Field(max_length=200), Readable] | None = None
    """A model of `GET /v1/models`. Names of OpenAI's models are accepted, too."""

    voice: Annotated[str, Field(max_length=200), Readable] | VoiceId | None = None
    """A voice of `GET /v1/audio/voices`. Without it, the one of yours that you used last.

    Not used with `ref_audio`.
    """

    response_format: StreamFormat = StreamFormat.MP3
    speed: Annotated[float, Field(ge=MIN_SPEED, le=MAX_SPEED, allow_inf_nan=False)] | None = None
    """How many times as fast as usual, at the same pitch. Without it, the voice's own."""

    stream_format: Literal["audio", "sse"] = "audio"
    """`audio` is the bytes of a file. `sse` is events with base64 in them. Both are streamed."""

    instructions: Annotated[str, Field(max_length=4_096), Readable] | None = None
    """Not supported by these models."""

    stream: bool | None = None
    """Changes nothing: speech is streamed in any case."""

    language: Annotated[str, Field(max_length=40), Readable] | None = None
    """The text's language, such as "English", or "Auto"."""

    ref_audio: Annotated[str, Field(max_length=MAX_REF_AUDIO_CHARACTERS)] | None = None
    """A recording of 3 to 30 s to speak like: base64, a data URL, or an https address."""

    ref_text: Annotated[str, Field(max_length=MAX_TRANSCRIPT_CHARACTERS), Readable] | None = None
    """Exactly what is said in `ref_audio`. It helps."""

    consent: Consent | None = None
    """Needed with `ref_audio`: "own voice" or "with permission" confirms the statement."""

    x_vector_only_mode: bool = False
    """Take only the sound of `ref_audio`, and not what is said in it."""

    max_new_tokens: Annotated[int, Field(ge=1, le=MAX_NEW_TOKENS)] = MAX_NEW_TOKENS
    """The most codec frames of 80 ms for each sentence."""

    seed: Annotated[int, Field(ge=0, le=HIGHEST_SEED)] | None = None
    """The same seed gives the same speech."""


class Voice(BaseModel):
    """A saved voice: your own, or one that is shared with you."""

    id: str
    object: Literal["audio.voice"] = "audio.voice"
    type: Literal["audio_sample"] = "audio_sample"
    name: str
    owner: str | None = None
    """The username of whoever shares it with you; null for your own."""

    created_at: int
    """When it was saved, or shared with you."""

    last_used_at: int | None = None
    language: str | None
    ref_text: str | None = None
    seconds: float | None = None
    """The length of its reference clip. Only for your own, like `last_used_at` and `ref_text`."""


class NewVoice(Voice):
    """A voice that was just saved."""

    heard: str | None
    """What the transcriber heard in the recording, if there is a transcriber."""

    notes: list[str]
    """What was done to the recording, and what is wrong with it."""


class VoiceList(BaseModel):
    """Some of a person's voices, the most recently used first, and then those of others."""

    object: Literal["list"] = "list"
    data: list[Voice]
    total: int
    has_more: bool


class VoiceDeleted(BaseModel):
    """A voice that was deleted."""

    id: str
    object: Literal["audio.voice.deleted"] = "audio.voice.deleted"
    deleted: bool = True
    copies_left: bool
    """Whether copies are still in the database's log. They are removed by themselves."""


class Verdict(BaseModel):
    """Whether a recording was made here."""

    object: Literal["audio.verdict"] = "audio.verdict"
    watermarked: bool
    message: str
    """What that means, in a sentence."""


class Model(BaseModel):
    """A model."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    clones: bool
    """Whether it clones voices. If not, speech only resembles them."""

    languages: list[str]
    watermarked: bool
    """Whether its speech is marked inaudibly."""


class ModelList(BaseModel):
    """The models."""

    object: Literal["list"] = "list"
    data: list[Model]


class Status(BaseModel):
    """How the service is."""

    status: str
    message: str | None = None


class Problem(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """OpenAI's form of an error."""

    error: Problem


_WHEN = {
    400: "A field is missing or can't be used; `param` names it.",
    401: "The key is missing, or isn't one of this service.",
    403: "You, or this voice, may not be used here.",
    404: "There's no such voice, model or address.",
    408: "The body came too slowly.",
    413: "The body or the recording is too large.",
    429: "A limit is reached; `Retry-After` says when it works again.",
    500: "Something broke.",
    503: "The service is full, restarting, or its voice engine isn't there.",
    504: "The voice engine took too long.",
}

RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": description}
    for status, description in _WHEN.items()
}
"""What the OpenAPI document says of errors: `responses=` of each route."""
