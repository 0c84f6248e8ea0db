"""The types, limits and errors that the bot and the GPU side exchange.

The bot imports nothing else of the GPU side, so this module needs only the standard library. Audio
is exchanged as bytes: mono, signed 16-bit little-endian PCM.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

AUTO_LANGUAGE = "Auto"
"""The language option that lets the model decide."""

LANGUAGES = (
    AUTO_LANGUAGE,
    "Chinese",
    "English",
    "Japanese",
    "Korean",
    "German",
    "French",
    "Russian",
    "Portuguese",
    "Spanish",
    "Italian",
)
"""Every language that Qwen3-TTS speaks, by the model's own names."""

REFERENCE_SAMPLE_RATE = 24_000
"""Sample rate of reference audio and of the model's codec, in Hz."""

MIN_REFERENCE_SECONDS = 3.0
MAX_REFERENCE_SECONDS = 30.0

REFERENCE_TOLERANCE_SECONDS = 0.05
"""How much shorter or longer a reference clip may be: a frame, which lossy codecs drop or add."""

MAX_TRANSCRIPT_CHARACTERS = 1_000
MAX_SPOKEN_CHARACTERS = 600
"""The longest text of one request: a long sentence. Callers split longer texts."""

MAX_CHECKED_SECONDS = 180.0
"""The longest recording that is searched for the watermark; the longest speech has 164 s."""

MAX_NEW_TOKENS = 2_048
"""The most codec frames of one request, 164 s of speech. Longer speech drifts from the voice."""

_HIGHEST_SEED = 2**63 - 1
_LONGEST_LANGUAGE_NAME = 20  # that an error quotes: the caller may have sent anything


def is_reference_length(seconds: float) -> bool:
    """Whether a reference clip may last this long. Every check of that length calls this."""
    shortest = MIN_REFERENCE_SECONDS - REFERENCE_TOLERANCE_SECONDS
    return shortest <= seconds <= MAX_REFERENCE_SECONDS + REFERENCE_TOLERANCE_SECONDS


@dataclass(frozen=True, slots=True)
class ConsentRecord:
    """Who attested that a voice may be cloned, when, and to which statement.

    Attributes:
        attested_by: The Discord id of the person who answered.
        attested_at: When, in UTC.
        statement_version: Which wording of the statement was agreed to.
    """

    attested_by: int
    attested_at: datetime
    statement_version: str


@dataclass(frozen=True, slots=True)
class ReferenceClip:
    """A few seconds of one person's speech, cleaned.

    Attributes:
        pcm: Mono s16le samples at `sample_rate`.
        sample_rate: In Hz; `REFERENCE_SAMPLE_RATE` unless stated otherwise.
        transcript: Exactly what is said in `pcm`, or None if nobody wrote it down.
        sound_alone: Whether the voice is made of the sound alone (x-vector), whatever is said.
    """

    pcm: bytes = field(repr=False)
    sample_rate: int = REFERENCE_SAMPLE_RATE
    transcript: str | None = field(default=None, repr=False)
    sound_alone: bool = False

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return len(self.pcm) / 2 / self.sample_rate


@dataclass(frozen=True, slots=True)
class VoicePrompt:
    """What a model needs to speak with a voice, made once from a reference clip.

    Attributes:
        data: The model's own serialised form. Never pickle.
        model_id: The model that made it, and the only one that can use it.
    """

    data: bytes = field(repr=False)
    model_id: str


@dataclass(frozen=True, slots=True)
class Heard:
    """What the transcriber heard in a reference clip, for a person to correct.

    Attributes:
        text: What is said in it; empty if nobody seems to speak.
        language: One of `LANGUAGES`, or None if it is another or cannot be told.
        differs: Whether a transcript was given that plainly says something else.
    """

    text: str = field(repr=False)
    language: str | None = None
    differs: bool = False


@dataclass(frozen=True, slots=True)
class PreparedVoice:
    """A voice, ready to be spoken with.

    Attributes:
        prompt: What to speak with.
        heard: What was heard in its reference clip, or None without a transcriber. If no transcript
            was given, the prompt was made with this text.
    """

    prompt: VoicePrompt
    heard: Heard | None = None


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """A request to speak one sentence. The same type from the slash command to the engine.

    Attributes:
        text: What to say, already cleaned; at most `MAX_SPOKEN_CHARACTERS`.
        prompt: The voice to say it with.
        language: One of `LANGUAGES`.
        seed: The same seed gives the same speech, whatever else is in the batch. (Rounding depends
            on the batch size and may change a sampled code: in float32 one in many thousands, in
            bfloat16 now and then.) None takes a random seed.
        caller: Whose request it is, for fair scheduling: "server/person" or "person"; "" is a
            caller of its own.
        max_new_tokens: The most codec frames of 80 ms; the length of the text limits them further.
    """

    text: str = field(repr=False)
    prompt: VoicePrompt
    language: str = AUTO_LANGUAGE
    seed: int | None = None
    caller: str = ""
    max_new_tokens: int = MAX_NEW_TOKENS


@dataclass(frozen=True, slots=True)
class PcmChunk:
    """A stretch of speech.

    Attributes:
        pcm: Mono s16le samples.
        sample_rate: In Hz; the same for every chunk of one answer.
        restarts: The speech did not end and is made a second time, from this chunk on. It
            replaces the chunks before it, or is left out if they were played already.
        first_sample: The number of samples before this chunk, since the answer began or restarted;
            None where the backend does not say.
    """

    pcm: bytes = field(repr=False)
    sample_rate: int
    restarts: bool = False
    first_sample: int | None = None


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """What a speech backend says of itself.

    Attributes:
        name: For the log: "Qwen3-TTS-12Hz-1.7B-Base on Modal".
        model_id: Names the model that prompts are made for; prompts of another model are rebuilt.
        languages: The subset of `LANGUAGES` it speaks.
        clones: False where the speech only resembles the reference.
        marks: False where speech may lack the inaudible watermark, so that replies say so.
        hears: False where nobody listens to what is said in reference clips.
        sentences_at_once: How many sentences of one text to request at once; more than one where
            the backend speaks them in one batch.
    """

    name: str
    model_id: str
    languages: tuple[str, ...]
    clones: bool = True
    marks: bool = True
    hears: bool = True
    sentences_at_once: int = 1


class SpeechError(Exception):
    """A backend cannot do what was asked. Subclasses say what the caller can do about it."""


class LanguageNotSupportedError(SpeechError):
    """The backend does not speak the language that was asked for."""

    def __init__(self, language: str, supported: tuple[str, ...]) -> None:
        super().__init__(language, supported)
        self.language = language
        self.supported = supported

    def __str__(self) -> str:
        return f"{self.language} is not among {', '.join(self.supported)}"


class TextNotSpeakableError(SpeechError):
    """The text holds nothing that can be spoken, or is too long for one request."""


class ConsentMissingError(SpeechError):
    """A voice needs a consent record. None was given, or the voice prompt holds none."""


class ReferenceUnusableError(SpeechError):
    """No voice can be made from this reference clip."""


class VoicePromptInvalidError(SpeechError):
    """The bytes are not a voice prompt, or a damaged one."""


class VoicePromptModelMismatchError(SpeechError):
    """The voice prompt was made for another model: rebuild it from the reference clip."""

    def __init__(self, made_for: str, needed: str) -> None:
        super().__init__(made_for, needed)
        self.made_for = made_for
        self.needed = needed

    def __str__(self) -> str:
        return f"this voice prompt was made for {self.made_for}, not for {self.needed}"


class BackendBusyError(SpeechError):
    """Too many requests wait already.

    Attributes:
        retry_after: Seconds after which trying again makes sense, if known.
    """

    def __init__(self, retry_after: float | None = None) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"busy, retry after {self.retry_after} s"


class BackendUnavailableError(SpeechError):
    """The backend is not there, or not set up. Trying again at once will not help."""


class GenerationFailedError(SpeechError):
    """The model ran and gave no usable speech."""


class SpeechRunsOnError(GenerationFailedError):
    """The speech did not end, not even at the second attempt. It is noise or babble."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return f"the speech had not ended after {self.seconds:.0f} s"


def check_request(request: SpeechRequest, languages: Sequence[str]) -> None:
    """Check what a request asks for, all but its voice prompt.

    The engine calls this for every request. Callers that want to refuse earlier call it, too.

    Args:
        request: What was asked for.
        languages: What the model speaks.

    Raises `TextNotSpeakableError` or `LanguageNotSupportedError`, and ValueError for a number out
    of its range.
    """
    if not isinstance(request.text, str) or not request.text.strip():
        raise TextNotSpeakableError("there is nothing to say")
    if len(request.text) > MAX_SPOKEN_CHARACTERS:
        raise TextNotSpeakableError(f"one text has at most {MAX_SPOKEN_CHARACTERS} characters")
    if request.language not in languages:
        named = str(request.language)[:_LONGEST_LANGUAGE_NAME]
        raise LanguageNotSupportedError(named, tuple(languages))
    if not 1 <= request.max_new_tokens <= MAX_NEW_TOKENS:
        raise ValueError(f"max_new_tokens must be from 1 to {MAX_NEW_TOKENS}")
    if request.seed is not None and not 0 <= request.seed <= _HIGHEST_SEED:
        raise ValueError(f"seed must be from 0 to {_HIGHEST_SEED}")
