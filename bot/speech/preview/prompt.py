"""The preview's voice prompt: a few measures of a voice, as JSON that is validated when read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from backend.contract import (
    ConsentMissingError,
    VoicePrompt,
    VoicePromptInvalidError,
    VoicePromptModelMismatchError,
)

if TYPE_CHECKING:
    from backend.contract import ConsentRecord

MODEL_ID = "preview/piper-joe-world-1"

SPECTRUM_BANDS = 64
"""Number of mel bands of a mean spectrum."""

MIN_PITCH = 60.0
MAX_PITCH = 420.0
"""The range of pitch that is looked for, in Hz."""

MIN_TRACT_RATIO = 0.84
MAX_TRACT_RATIO = 1.25
"""How far resonances may be moved: about the range between adults."""

_MAX_BYTES = 8_192
_MAX_DISCORD_ID = 2**64 - 1
_Loudness = Annotated[float, Field(ge=-20, le=20)]


class _Checked(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class VoiceTarget(_Checked):
    """The measures that the stock voice is moved to.

    Attributes:
        pitch: The median pitch, in Hz.
        pitch_spread: Half the distance between the 16th and 84th percentile of the pitch's natural
            logarithm.
        tract_ratio: The voice's resonances over the stock voice's; above 1 for a shorter tract.
        spectrum: Mean natural-log power of `SPECTRUM_BANDS` bands, minus the mean of all bands.
    """

    pitch: float = Field(ge=MIN_PITCH, le=MAX_PITCH)
    pitch_spread: float = Field(ge=0, le=2)
    tract_ratio: float = Field(ge=MIN_TRACT_RATIO, le=MAX_TRACT_RATIO)
    spectrum: tuple[_Loudness, ...] = Field(min_length=SPECTRUM_BANDS, max_length=SPECTRUM_BANDS)


class _Consent(_Checked):
    attested_by: int = Field(ge=0, le=_MAX_DISCORD_ID)
    attested_at: AwareDatetime
    statement_version: str = Field(pattern=r"[^\W_]", max_length=100)  # a letter or a digit


class _Document(_Checked):
    version: Literal[1] = 1
    consent: _Consent | None = None
    target: VoiceTarget


def consent_entry(consent: ConsentRecord) -> _Consent:
    """Convert a consent record to the form that a prompt carries.

    Raises `ConsentMissingError` for anything but a complete record.
    """
    try:
        return _Consent.model_validate(consent, from_attributes=True)
    except ValidationError:
        raise ConsentMissingError("a voice needs a complete consent record") from None


def write_prompt(target: VoiceTarget, consent: ConsentRecord) -> VoicePrompt:
    """Serialise a voice, with the consent record."""
    document = _Document(consent=consent_entry(consent), target=target)
    return VoicePrompt(document.model_dump_json().encode(), MODEL_ID)


def read_prompt(prompt: VoicePrompt) -> VoiceTarget:
    """Parse and validate a voice prompt.

    Raises `VoicePromptModelMismatchError`, `VoicePromptInvalidError`, or `ConsentMissingError` if
    it holds no consent record.
    """
    if prompt.model_id != MODEL_ID:
        raise VoicePromptModelMismatchError(prompt.model_id, MODEL_ID)
    if len(prompt.data) > _MAX_BYTES:
        raise VoicePromptInvalidError(f"a preview voice prompt has at most {_MAX_BYTES} bytes")
    try:
        document = _Document.model_validate_json(prompt.data)
    except ValidationError:
        raise VoicePromptInvalidError("these bytes are not a preview voice prompt") from None
    if document.consent is None:
        raise ConsentMissingError("the voice prompt holds no consent record")
    return document.target
