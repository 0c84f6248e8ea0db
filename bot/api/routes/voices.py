"""`/v1/audio/voices`: a person's own voices, as on Discord, and those shared with them by name."""

# FastAPI reads the annotations here at run time.

from contextlib import suppress
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, UploadFile

from backend.contract import AUTO_LANGUAGE, MAX_REFERENCE_SECONDS, MAX_TRANSCRIPT_CHARACTERS
from bot.api.context import context_of, has_key_still, opened, person_of
from bot.api.errors import no_key
from bot.api.languages import language_named
from bot.api.lookup import find_own, find_shared, id_of
from bot.api.recordings import audit_details, consent_of
from bot.api.schemas import RESPONSES, NewVoice, Readable, Voice, VoiceDeleted, VoiceList
from bot.audio.reference import check_upload
from bot.errors import Reason, Refusal
from bot.guilds.access import Action
from bot.guilds.records import AuditAction
from bot.interface.wording.sentences import note
from bot.voices.records import SavedVoice
from bot.voices.rights import NamedShare

AUDIO_SAMPLE = "audio_sample"
MOST_VOICES = 100
MOST_NAME_CHARACTERS = 200
"""Of what is read as a name at all. How long a name may be, the library decides."""

router = APIRouter(tags=["voices"])


@router.get("/v1/audio/voices", responses=RESPONSES, summary="List your voices")
async def list_voices(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=MOST_VOICES)] = 20,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> VoiceList:
    """Your own, the most recently used first; then those that are shared with you by name."""
    context, person = context_of(request), person_of(request)
    context.require_database()
    async with opened(request, Action.OWN):
        page = await context.services.library.page(person, offset=offset, limit=limit)
        shared = await context.services.voice_access.shared_by_name(person)
    data = [Voice(**_fields(voice)) for voice in page.voices]
    begin = max(0, offset - page.total)
    data += [_shared(share) for _, share in shared[begin : begin + limit - len(data)]]
    total = page.total + len(shared)
    return VoiceList(data=data, total=total, has_more=offset + len(data) < total)


@router.post("/v1/audio/voices", responses=RESPONSES, summary="Save a voice")
async def save_voice(  # noqa: PLR0913, PLR0917 - the fields of the form
    request: Request,
    audio_sample: UploadFile,
    name: Annotated[str, Form(max_length=MOST_NAME_CHARACTERS), Readable],
    consent: Annotated[
        str,
        Form(
            max_length=500,
            description="Needed: `own voice` or `with permission`, which confirms the statement.",
        ),
        Readable,
    ] = "",
    ref_text: Annotated[str, Form(max_length=MAX_TRANSCRIPT_CHARACTERS), Readable] = "",
    language: Annotated[str, Form(max_length=40), Readable] = "",
) -> NewVoice:
    """Make a voice of 3 to 30 seconds of one person's speech, and keep it under a name."""
    request.state.recording = AUDIO_SAMPLE
    context, person = context_of(request), person_of(request)
    context.require_database()
    given = consent_of(person, consent, is_required=True)
    spoken = language_named(language) or AUTO_LANGUAGE
    library, studio = context.services.library, context.services.studio
    async with opened(request, Action.CLONE) as open_request:
        name = await library.check_can_save(person, name)
        check_upload(audio_sample.size or 0)
        work = await open_request.begin(MAX_REFERENCE_SECONDS)
        voice = await studio.make_voice(
            await audio_sample.read(),
            transcript=ref_text.strip() or None,
            consent=given,
            on_step=lambda _step: None,
            on_speech=work.made,
        )
        saved = await library.save(
            person,
            name,
            clip_flac=voice.clip_flac,
            clip_seconds=voice.clip_seconds,
            transcript=voice.transcript,
            language=spoken,
            prompt=voice.prompt,
            consent=given,
            guild_id=None,
        )
        if not await has_key_still(request):  # revoked, or its person had everything deleted
            with suppress(Refusal):  # it may be deleted already
                await library.delete(saved)
            raise no_key(is_given=True)
        library.defaults.touch(saved)
        context.services.policy.audit.note_own(
            AuditAction.CLONED, open_request.actor, saved.id, details=audit_details(given)
        )
    return NewVoice(
        **_fields(saved),
        heard=voice.heard.text if voice.heard is not None else None,
        notes=[note(each) for each in voice.notes],
    )


@router.get("/v1/audio/voices/{voice:path}", responses=RESPONSES, summary="Describe a voice")
async def describe_voice(voice: str, request: Request) -> Voice:
    """Describe a voice that you may use, by its name or its id."""
    context, person = context_of(request), person_of(request)
    context.require_database()
    access = context.services.voice_access
    async with opened(request, Action.OWN) as open_request:
        try:
            return Voice(**_fields(await find_own(access, open_request.actor, voice)))
        except Refusal as refusal:
            if refusal.reason is not Reason.NO_SUCH_VOICE:
                raise
            shared = await find_shared(access, person, voice)
            if shared is None:
                raise
        return _shared(shared[1])


@router.delete("/v1/audio/voices/{voice:path}", responses=RESPONSES, summary="Delete a voice")
async def delete_voice(voice: str, request: Request) -> VoiceDeleted:
    """Delete one of your voices for good, by its name or its id. What it speaks now, ends."""
    context = context_of(request)
    context.require_database()
    async with opened(request, Action.OWN) as open_request:
        saved = await find_own(context.services.voice_access, open_request.actor, voice)
        is_complete = await context.services.library.delete(saved)
        context.services.policy.audit.note_own(AuditAction.DELETED, open_request.actor, saved.id)
    return VoiceDeleted(id=id_of(saved), copies_left=not is_complete)


def _fields(voice: SavedVoice) -> dict[str, object]:
    return {
        "id": id_of(voice),
        "name": voice.name,
        "created_at": _seconds(voice.created_at),
        "last_used_at": None if voice.last_used_at is None else _seconds(voice.last_used_at),
        "language": voice.language,
        "ref_text": voice.transcript,
        "seconds": round(voice.clip_seconds, 2),
    }


def _shared(share: NamedShare) -> Voice:
    """What others see of a voice: neither its recording nor when its owner uses it."""
    return Voice(
        id=id_of(share.voice),
        name=share.voice.name,
        owner=share.voice.owner_name,
        created_at=_seconds(share.created_at),
        language=share.voice.language,
    )


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
