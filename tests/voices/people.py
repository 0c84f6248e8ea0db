"""People who save voices, with ids as large as Discord's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.contract import VoicePrompt

if TYPE_CHECKING:
    from bot.voices.library import VoiceLibrary
    from bot.voices.records import SavedVoice

ANA = 1_198_765_432_109_876_543
BEN = 1_298_765_432_109_876_543
GUILD = 998_765_432_109_876_543
MODEL = "Qwen/Qwen3-TTS-12Hz-1.7B-Base"
OTHER_MODEL = "Qwen/Qwen3-TTS-12Hz-0.6B-Base"


async def save(
    library: VoiceLibrary,
    owner_id: int,
    name: str,
    clip_flac: bytes = b"fLaC a few seconds of speech",
    transcript: str | None = "The quick brown fox.",
) -> SavedVoice:
    """Save a voice as `/clone` does, for someone who has agreed to the statement."""
    if await library.consent_of(owner_id) is None:
        await library.record_consent(owner_id, guild_id=GUILD)
    return await library.save(
        owner_id,
        name,
        clip_flac=clip_flac,
        clip_seconds=12.5,
        transcript=transcript,
        language="English",
        prompt=VoicePrompt(data=b"codes and an embedding", model_id=MODEL),
    )
