"""People who save voices, with ids as large as Discord's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from backend.contract import VoicePrompt
from bot.voices.consent import Permission, confirm
from bot.voices.rights import Asker
from bot.voices.suggestions import MAX_SUGGESTIONS

if TYPE_CHECKING:
    from backend.contract import ConsentRecord
    from bot.voices.library import VoiceLibrary
    from bot.voices.records import SavedVoice

ANA = 1_198_765_432_109_876_543
BEN = 1_298_765_432_109_876_543
GUILD = 998_765_432_109_876_543
MODEL = "Qwen/Qwen3-TTS-12Hz-1.7B-Base"
OTHER_MODEL = "Qwen/Qwen3-TTS-12Hz-0.6B-Base"


PROMPT = VoicePrompt(data=b"codes and an embedding", model_id=MODEL)
CONFIRMED_AT = datetime(2026, 12, 24, 18, 30, tzinfo=UTC)


def consent_of(owner_id: int, permission: Permission = Permission.OWN) -> ConsentRecord:
    """What somebody confirms for a voice."""
    return confirm(permission, by=owner_id, at=CONFIRMED_AT)


async def save(
    library: VoiceLibrary,
    owner_id: int,
    name: str,
    clip_flac: bytes = b"fLaC a few seconds of speech",
    transcript: str | None = "The quick brown fox.",
    *,
    consent: ConsentRecord | None = None,
    prompt: VoicePrompt = PROMPT,
) -> SavedVoice:
    """Save a voice as `/clone` does; it is the person's own, if no other consent is named."""
    return await library.save(
        owner_id,
        name,
        clip_flac=clip_flac,
        clip_seconds=12.5,
        transcript=transcript,
        language="English",
        prompt=prompt,
        consent=consent or consent_of(owner_id),
        guild_id=GUILD,
    )


async def replace_recording(
    library: VoiceLibrary,
    voice: SavedVoice,
    clip_flac: bytes = b"fLaC other words",
    transcript: str | None = "Other words.",
    *,
    consent: ConsentRecord,
    prompt: VoicePrompt = PROMPT,
) -> SavedVoice:
    """Replace a voice's recording as `/clone` does."""
    return await library.recordings.replace(
        voice,
        clip_flac=clip_flac,
        clip_seconds=7.5,
        transcript=transcript,
        language="German",
        prompt=prompt,
        consent=consent,
        guild_id=GUILD,
    )


async def default_of(library: VoiceLibrary, user_id: int) -> SavedVoice | None:
    """The voice that somebody uses in direct messages if they name none."""
    default = await library.defaults.voice_for(Asker(user_id))
    return None if default is None else default.voice


async def suggested(
    library: VoiceLibrary, user_id: int, typed: str, limit: int = MAX_SUGGESTIONS
) -> list[str]:
    """The names of somebody's own voices that are offered while they type."""
    own, _ = await library.suggestions.search(Asker(user_id), typed, limit=limit)
    return own
