"""What the deployed methods answer: dicts of Python's own types, which need no code of ours."""

from __future__ import annotations

from typing import TypedDict

from backend.contract import (
    MAX_NEW_TOKENS,
    MAX_REFERENCE_SECONDS,
    MAX_SPOKEN_CHARACTERS,
    MAX_TRANSCRIPT_CHARACTERS,
    MIN_REFERENCE_SECONDS,
)
from backend.sent_audio import MAX_AUDIO_BYTES

MAX_TEXTS = 16
"""The most texts of one call."""

LIMITS: dict[str, float] = {
    "min_reference_seconds": MIN_REFERENCE_SECONDS,
    "max_reference_seconds": MAX_REFERENCE_SECONDS,
    "max_reference_bytes": MAX_AUDIO_BYTES,
    "max_transcript_characters": MAX_TRANSCRIPT_CHARACTERS,
    "max_text_characters": MAX_SPOKEN_CHARACTERS,
    "max_texts": MAX_TEXTS,
    "max_new_tokens": MAX_NEW_TOKENS,
}
"""What one call may ask for."""


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
    """A voice, to be kept and sent with each text that it is to speak.

    Attributes:
        prompt: A safetensors file of some kilobytes, which works in every container.
        model_id: The model that made it, and the only one that can use it.
        mode: "in-context" if it was made with a transcript, "x-vector" if from the sound alone.
        transcript: The transcript it was made with: the given one, or else what was heard.
        heard: What was heard in the clip, or None without a transcriber.
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
        watermarked: Whether it carries the watermark: the confidence is 0.5 or more.
        confidence: From 0 to 1.
        speed: How much faster than it was made it is played, pitch included: 0.9 to 1.1, give or
            take 0.02. It says nothing where the watermark was not found.
        seconds: The recording's length.
    """

    watermarked: bool
    confidence: float
    speed: float
    seconds: float


class ModelInfoAnswer(TypedDict):
    """What is loaded, and on what.

    Attributes:
        model_id: Names the weights; voice prompts are tied to it.
        model_name: The model's name for people.
        revision: The commit of the weights on the hub; None if they come from a folder.
        loop: Which loop decodes: "timbre" is ours, "reference" is the package's.
        attention_implementation: What that loop's layers use: "flash_attention_2", "sdpa" or
            "eager". Ours always use torch's "sdpa".
        codec_attention_implementation: The same of the codec's transformer.
        text_layout: Whether prompts have the text "before" the speech or "along" it.
        cuda_graphs: Whether decode steps are replayed as CUDA graphs.
        cuda_graphs_reason: Why, or why not.
        device: "cuda:0" or "cpu".
        gpu: The GPU's name; "CPU" without one.
        gpu_memory_gb: What the GPU has in all, in 10^9 bytes; 0.0 without one.
        gpu_memory_free_bytes: What is free of it now; 0 without one.
        weights: The number format of the language model's weights: "float32", "bfloat16" or "int8".
        weights_reason: Why.
        dtype: What the language model's states are in, between its products.
        codec_dtype: What the codec computes with.
        memory_bytes: What the weights take.
        rows: How many sentences it speaks at once; others wait.
        load_seconds: How long loading the model took.
        supported_languages: What it speaks.
        limits: What one call may ask for.
        transcribes: Whether it transcribes reference clips.
        requires_consent: Whether a voice needs a consent record.
        versions: Of the packages it is built on.
    """

    model_id: str
    model_name: str
    revision: str | None
    loop: str
    attention_implementation: str
    codec_attention_implementation: str
    text_layout: str
    cuda_graphs: bool
    cuda_graphs_reason: str
    device: str
    gpu: str
    gpu_memory_gb: float
    gpu_memory_free_bytes: int
    weights: str
    weights_reason: str
    dtype: str
    codec_dtype: str
    memory_bytes: int
    rows: int
    load_seconds: float
    supported_languages: list[str]
    limits: dict[str, float]
    transcribes: bool
    requires_consent: bool
    versions: dict[str, str]


class HealthAnswer(TypedDict):
    """What the container has to do now.

    Attributes:
        ready: Whether a new request would be accepted now.
        model_id: Which model it speaks with.
        waiting: Requests that wait.
        speaking: Requests that the engine works on.
        seconds_per_request: Of the engine's time, lately; None before the first request ended.
    """

    ready: bool
    model_id: str
    waiting: int
    speaking: int
    seconds_per_request: float | None
