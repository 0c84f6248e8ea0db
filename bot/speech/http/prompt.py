"""The voice prompt for a server that keeps none: the reference clip itself, as bytes.

Such a server is sent the recording with each sentence. A prompt is a line of JSON with the
transcript and the consent, and behind it the clip as a FLAC file.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from backend.contract import (
    MAX_TRANSCRIPT_CHARACTERS,
    ConsentMissingError,
    ConsentRecord,
    ReferenceClip,
    ReferenceUnusableError,
    VoicePromptInvalidError,
    is_reference_length,
)
from bot.audio.clip import from_flac, to_flac
from bot.errors import Refusal

MAX_PROMPT_BYTES = 2_000_000
"""More than 30 s of 16-bit samples at 24 kHz, which FLAC hardly ever makes longer."""

_MAX_HEADER_BYTES = 16_000
_HIGHEST_ID = 2**64 - 1


class _Checked(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Consent(_Checked):
    attested_by: Annotated[int, Field(ge=0, le=_HIGHEST_ID)]
    attested_at: AwareDatetime
    statement_version: Annotated[str, Field(min_length=1, max_length=200)]


class _Header(_Checked):
    version: Literal[1]
    transcript: Annotated[str, Field(min_length=1, max_length=MAX_TRANSCRIPT_CHARACTERS)] | None
    consent: _Consent


def write_prompt(clip: ReferenceClip, consent: ConsentRecord) -> bytes:
    """Write a clip and its consent as a prompt. Takes some milliseconds.

    Raises `ReferenceUnusableError` if the clip or its transcript is too long or too short, and
    `ConsentMissingError` without a consent.
    """
    if consent is None:
        raise ConsentMissingError("a voice prompt needs a consent record")
    if not is_reference_length(clip.seconds):
        raise ReferenceUnusableError(f"it lasts {clip.seconds:.1f} s")
    transcript = (clip.transcript or "").strip() or None
    if transcript is not None and len(transcript) > MAX_TRANSCRIPT_CHARACTERS:
        raise ReferenceUnusableError("its transcript is too long")
    header = _Header(version=1, transcript=transcript, consent=_Consent(**asdict(consent)))
    return header.model_dump_json().encode() + b"\n" + to_flac(clip.pcm)


def read_prompt(data: bytes) -> tuple[ReferenceClip, ConsentRecord]:
    """Read what `write_prompt` wrote. Takes some milliseconds.

    Raises `VoicePromptInvalidError` for anything else.
    """
    if len(data) > MAX_PROMPT_BYTES:
        raise VoicePromptInvalidError("it is too large")
    line, _, flac = data.partition(b"\n")
    if len(line) > _MAX_HEADER_BYTES:
        raise VoicePromptInvalidError("it is not a reference clip")
    try:
        header = _Header.model_validate_json(line)
        pcm = from_flac(flac)
    except (ValidationError, Refusal):
        raise VoicePromptInvalidError("it is not a reference clip") from None
    if not is_reference_length(len(pcm) / 2 / ReferenceClip(b"").sample_rate):
        raise VoicePromptInvalidError("its clip is too short or too long")
    consent = ConsentRecord(**header.consent.model_dump())
    return ReferenceClip(pcm, transcript=header.transcript), consent
