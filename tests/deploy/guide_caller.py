"""A program of somebody who follows the guide, with Modal's client and none of our code.

It takes a recording, and writes clone.wav, first.wav, second.wav and stream.wav where it is run.
"""

from __future__ import annotations

import base64
import sys
import wave
from pathlib import Path

import modal

CONSENT = "This is my own voice, I agree."


# ruff: noqa: T201 - it is a program that prints


def main(recording: str) -> None:
    service = modal.Cls.from_name("qwen3-tts-voice-clone", "Qwen3TTSService")()

    info = service.get_model_info.remote()
    print(f"Model: {info['model_name']} ({info['model_id']})")
    print(f"Attention: {info['attention_implementation']}")
    print(f"GPU: {info['gpu']:>10}, {info['gpu_memory_gb']:.1f} GB")
    print("Languages: " + ", ".join(info["supported_languages"]))

    clip = Path(recording).read_bytes()
    url = "data:audio/wav;base64," + base64.b64encode(clip).decode()
    speech = service.generate_voice_clone.remote(
        text="Good evening, everybody.",
        language="English",
        ref_audio=url,
        ref_text="The words.",
        max_new_tokens=2048,
        consent=CONSENT,
    )
    Path("clone.wav").write_bytes(speech)

    texts, languages = ["One.", "Zwei."], ["English", "German"]
    both = service.generate_voice_clone_batch.remote(
        texts, languages, clip, "The words.", 2048, consent=CONSENT
    )
    for name, speech in zip(("first.wav", "second.wav"), both, strict=True):
        Path(name).write_bytes(speech)

    record = {"attested_by": 7, "attested_at": "2026-11-01T10:00:00Z", "statement_version": "1"}
    voice = service.create_voice_prompt.remote(clip, consent=record)
    print(f"Voice: {len(voice['prompt'])} bytes for {voice['model_id']}, heard {voice['heard']}")
    begins, *chunks = service.stream_with_prompt.remote_gen("One.", "English", voice["prompt"])
    print(f"Call: {begins['call_id']}")
    with wave.open("stream.wav", "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(chunks[0]["sample_rate"])
        file.writeframes(b"".join(chunk["pcm"] for chunk in chunks))

    try:
        service.generate_voice_clone.remote("Hello.", "English", clip, "The words.")
    except modal.exception.ExecutionError as error:
        print(error)


if __name__ == "__main__":
    main(sys.argv[1])
