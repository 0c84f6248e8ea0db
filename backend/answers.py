"""What the service's methods answer: plain dicts, so that a caller needs none of this code."""

from __future__ import annotations

from typing import TypedDict


class HeardAnswer(TypedDict):
    """What was heard in a reference clip.

    Attributes:
        text: What is said in it; empty if nobody seems to speak.
        language: One of `backend.contract.LANGUAGES`, or None.
        differs: Whether a transcript was given that plainly says something else.
    """

    text: str
    language: str | None
    differs: bool


class VoicePromptAnswer(TypedDict):
    """A voice, to be kept and sent along with what it shall say.

    Attributes:
        prompt: A safetensors file of some kilobytes, and the same voice in every container.
        model_id: The model that made it, and the only one that can use it.
        mode: "in-context" if it rests on a transcript, "x-vector" if on the sound alone.
        transcript: What it rests on: the one that was given, or else what was heard.
        heard: What was heard in the clip, or None if nothing listens.
    """

    prompt: bytes
    model_id: str
    mode: str
    transcript: str | None
    heard: HeardAnswer | None


class TranscriptAnswer(TypedDict):
    """What a recording says.

    Attributes:
        text: The transcript; empty if nobody speaks.
        language: One of `backend.contract.LANGUAGES`, or None.
        language_confidence: From 0 to 1.
    """

    text: str
    language: str | None
    language_confidence: float


class WatermarkAnswer(TypedDict):
    """Whether a recording was made by Timbre.

    Attributes:
        watermarked: Whether it carries the mark.
        confidence: How sure that is, from 0 to 1; 0.5 and more count as marked.
        seconds: The recording's length.
    """

    watermarked: bool
    confidence: float
    seconds: float


class LimitsAnswer(TypedDict):
    """What one call may ask for."""

    min_reference_seconds: float
    max_reference_seconds: float
    max_reference_bytes: int
    max_transcript_characters: int
    max_text_characters: int
    max_texts: int
    max_new_tokens: int


class ModelInfoAnswer(TypedDict):
    """What is loaded, and on what.

    Attributes:
        model_id: Names the weights; voice prompts are tied to it.
        label: The model's name for people.
        revision: The commit of the weights on the hub, if they come from there.
        device: "cuda:0" or "cpu".
        gpu: The GPU's name, or None.
        dtype: What it computes with.
        attention: Which attention kernels it uses.
        memory_bytes: What the weights take.
        gpu_memory_bytes: What the GPU has in all, or None.
        gpu_memory_free_bytes: What is free of it now, or None.
        load_seconds: How long loading the model took.
        languages: What it speaks.
        limits: What one call may ask for.
        transcribes: Whether it listens to reference clips.
        requires_consent: Whether a voice needs a consent record.
        versions: Of the packages it stands on.
    """

    model_id: str
    label: str
    revision: str | None
    device: str
    gpu: str | None
    dtype: str
    attention: str
    memory_bytes: int
    gpu_memory_bytes: int | None
    gpu_memory_free_bytes: int | None
    load_seconds: float
    languages: list[str]
    limits: LimitsAnswer
    transcribes: bool
    requires_consent: bool
    versions: dict[str, str]


class HealthAnswer(TypedDict):
    """What the container has to do now.

    Attributes:
        ready: Whether a request that came now would be taken.
        model_id: Which model it speaks with.
        waiting: Requests that have not begun.
        speaking: Requests that the engine works on.
        seconds_per_request: Of the engine's time, lately; None before the first request ended.
    """

    ready: bool
    model_id: str
    waiting: int
    speaking: int
    seconds_per_request: float | None
