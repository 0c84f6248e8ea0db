"""`POST /v1/audio/speech`: text in, speech out, from its first chunk on."""

# FastAPI reads the annotations here at run time.

import asyncio
import base64
import json
from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from backend.contract import AUTO_LANGUAGE, MAX_REFERENCE_SECONDS, ConsentRecord, VoicePrompt
from bot.api.context import ApiContext, context_of, opened
from bot.api.errors import ApiError, api_error
from bot.api.languages import language_named
from bot.api.lookup import find_usable
from bot.api.prefetch import Prefetch, PrefetchedResponse
from bot.api.recordings import audit_details, consent_of, read_ref_audio
from bot.api.requests import ApiRequest
from bot.api.routes.models import check_model
from bot.api.schemas import RESPONSES, SpeechBody, VoiceId
from bot.audio.stream_encode import MEDIA_TYPES, StreamEncoder
from bot.guilds.access import Action
from bot.guilds.records import AuditAction
from bot.streaming import leveled
from bot.text import spoken_seconds
from bot.voices.records import SavedVoice

REF_AUDIO = "ref_audio"
FRAMES_PER_SECOND = 12.5
"""Of the model's codec; OpenAI's clients are told of tokens."""

router = APIRouter(tags=["speech"])

_AUDIO = {"schema": {"type": "string", "format": "binary"}}
_SPEECH: dict[str, Any] = {
    "description": "The speech, as it is made.",
    "content": {
        **{media_type.partition(";")[0]: _AUDIO for media_type in MEDIA_TYPES.values()},
        "text/event-stream": {
            "schema": {"type": "object", "properties": {"data": {"type": "string"}}}
        },
    },
}


@router.post(
    "/v1/audio/speech",
    response_class=Response,
    responses={**RESPONSES, HTTPStatus.OK: _SPEECH},
    summary="Speak a text",
)
async def speak(body: SpeechBody, request: Request) -> Response:
    """Speak with one of your voices, or like the recording in `ref_audio`.

    The answer begins with the first chunk of speech. If the client leaves, the speech is not made
    to its end.
    """
    request.state.recording = REF_AUDIO
    check_can_be_spoken(body, context_of(request))
    is_sse = body.stream_format == "sse"
    prefetch = Prefetch(partial(_make, body, request, _as_event if is_sse else None))
    try:
        first = await prefetch.next()
    except BaseException:
        await prefetch.close()
        raise
    return PrefetchedResponse(
        prefetch,
        first,
        media_type="text/event-stream" if is_sse else MEDIA_TYPES[body.response_format],
        headers={"cache-control": "no-store"},
        last_words=partial(_error_event, request) if is_sse else None,
    )


def check_can_be_spoken(body: SpeechBody, context: ApiContext) -> None:
    """Raise `ApiError` or `Refusal` for what can be refused without looking anything up."""
    check_model(context, body.model)
    if body.instructions and body.instructions.strip():
        raise _unsupported("instructions", "These models take no `instructions`. Leave them out.")
    if body.ref_audio is None:
        if body.x_vector_only_mode:
            raise _unsupported("x_vector_only_mode", "That works with `ref_audio` only.")
        if body.ref_text:
            raise _unsupported("ref_text", "That works with `ref_audio` only.")
        context.require_database()
    else:
        _consent(context, 0, body)


async def _make(
    body: SpeechBody,
    request: Request,
    wrap: Callable[[bytes], bytes] | None,
    emit: Callable[[bytes], None],
) -> None:
    """Make the answer to a request, from the gate to the last bytes."""
    context, action = context_of(request), Action.SPEAK if body.ref_audio is None else Action.CLONE
    async with opened(request, action) as open_request:
        encoder = StreamEncoder(body.response_format)
        try:
            seconds = await _speak(
                context,
                open_request,
                body,
                encoder,
                emit if wrap is None else lambda piece: emit(wrap(piece)),
            )
        finally:
            encoder.close()
        if wrap is not None:
            emit(_done_event(len(body.input), seconds))


async def _speak(
    context: ApiContext,
    request: ApiRequest,
    body: SpeechBody,
    encoder: StreamEncoder,
    emit: Callable[[bytes], None],
) -> float:
    """Emit the speech in its format; return how many seconds it lasts."""
    studio, person = context.services.studio, request.actor.user_id
    saved = None if body.ref_audio is not None else await _saved_voice(context, request, body.voice)
    language = language_named(body.language) or (saved and saved.language) or AUTO_LANGUAGE
    sentences = await studio.script(
        body.input,
        language=language,
        name_of=lambda _kind, _id: None,
        spoken_for=await context.services.dictionaries.spoken_for(person, None),
    )
    mark = await context.counted.mark_of(person, body.ref_audio) if body.ref_audio else None
    has_counted = saved is not None or context.counted.holds(mark)
    work = await request.begin(
        spoken_seconds(sentences) + (0 if has_counted else MAX_REFERENCE_SECONDS)
    )

    def count_recording(seconds: float) -> None:
        if not context.counted.holds(mark):  # not by another request in the meantime
            context.counted.add(mark)
            work.made(seconds)

    voice = saved or await _new_voice(context, person, body, count_recording)
    stream = leveled(
        studio.stream(
            sentences,
            voice,
            language=language,
            caller=str(person),
            production=studio.production(sentences, on_speech=work.made),
            seed=body.seed,
            max_new_tokens=body.max_new_tokens,
            speed=body.speed or (saved.speed if saved is not None else 1.0),
        )
    )
    noted, samples, sample_rate, cut = False, 0, 1, 0
    async with aclosing(stream):
        async for chunk in stream:
            if chunk.restarts:  # what was sent can't be taken back
                cut = chunk.sentence
            if chunk.sentence == cut or not chunk.pcm:
                continue
            samples, sample_rate = samples + len(chunk.pcm) // 2, chunk.sample_rate
            if piece := await asyncio.to_thread(encoder.push, chunk.pcm, chunk.sample_rate):
                if not noted:
                    _note(context, request, body, saved)
                    noted = True
                emit(piece)
    if piece := await asyncio.to_thread(encoder.finish):
        emit(piece)
    return samples / sample_rate


async def _saved_voice(
    context: ApiContext, request: ApiRequest, wanted: str | VoiceId | None
) -> SavedVoice:
    """Return the voice that is named, or the one of their own used last. Raises `Refusal`.

    The request counts where that voice is shared with the person, if it isn't their own.
    """
    access = context.services.voice_access
    if isinstance(wanted, VoiceId):
        wanted = wanted.id
    if wanted is not None:
        request.actor, saved = await find_usable(access, request.actor, wanted)
    else:
        saved = (await access.default(request.actor)).voice
    request.voice_id = saved.id
    return saved


async def _new_voice(
    context: ApiContext, person: int, body: SpeechBody, on_speech: Callable[[float], None]
) -> VoicePrompt:
    """Make a voice of `ref_audio`, for this request alone."""
    assert body.ref_audio is not None  # noqa: S101 - the caller has looked
    upload = await read_ref_audio(body.ref_audio, context.fetch)
    voice = await context.services.studio.make_voice(
        upload,
        transcript=None if body.x_vector_only_mode else body.ref_text or None,
        consent=_consent(context, person, body),
        on_step=lambda _step: None,
        on_speech=on_speech,
        sound_alone=body.x_vector_only_mode,
    )
    return voice.prompt


def _note(
    context: ApiContext, request: ApiRequest, body: SpeechBody, saved: SavedVoice | None
) -> None:
    """Note in the audit log that somebody got speech, and that a voice of their own is used.

    Which voice of others a person uses in a server is decided there.
    """
    audit = context.services.policy.audit
    if saved is None:
        given = audit_details(_consent(context, request.actor.user_id, body))
        audit.note_own(AuditAction.CLONED, request.actor, None, text=body.input, details=given)
        return
    audit.note_own(
        AuditAction.SPOKE_FILE, request.actor, saved.id, owner_id=saved.owner_id, text=body.input
    )
    if saved.owner_id == request.actor.user_id:
        context.services.library.defaults.touch(saved)


def _consent(context: ApiContext, person: int, body: SpeechBody) -> ConsentRecord:
    """Return the record of what comes with `ref_audio`. Raises `ConsentMissingError`."""
    is_required = context.services.settings.require_consent
    return consent_of(person, body.consent, is_required=is_required)


def _unsupported(param: str, message: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, message, code="unsupported", param=param)


def _as_event(piece: bytes) -> bytes:
    return _event({"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()})


def _done_event(characters: int, seconds: float) -> bytes:
    """The last event. Tokens are what is counted here: characters in, codec frames out."""
    frames = round(seconds * FRAMES_PER_SECOND)
    usage = {
        "input_tokens": characters,
        "output_tokens": frames,
        "total_tokens": characters + frames,
    }
    return _event({"type": "speech.audio.done", "usage": usage})


def _error_event(request: Request, error: Exception) -> bytes:
    request_id = request.state.request_id
    told = api_error(error, recording=REF_AUDIO, request_id=request_id)
    return _event({"type": "error", **told.body()})


def _event(fields: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(fields)}\n\n".encode()
