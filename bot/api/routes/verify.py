"""`POST /v1/audio/verify`: whether a recording was made here."""

# FastAPI reads the annotations here at run time.

from fastapi import APIRouter, Request, UploadFile

from bot.api.context import context_of, opened, person_of
from bot.api.schemas import RESPONSES, Verdict
from bot.audio.reference import check_upload
from bot.guilds.access import Action
from bot.interface.wording.recordings import verdict_on
from bot.verification import COUNTED_SECONDS

router = APIRouter(tags=["watermark"])


@router.post("/v1/audio/verify", responses=RESPONSES, summary="Look for the watermark")
async def verify(request: Request, file: UploadFile) -> Verdict:
    """Search a recording of up to three minutes for the inaudible mark that all speech has."""
    request.state.recording = "file"
    context = context_of(request)
    verification = context.services.verification
    async with opened(request, Action.OTHER) as open_request:
        verification.marking_backend()  # refuse at once what can't be told here
        check_upload(file.size or 0)
        work = await open_request.begin(COUNTED_SECONDS)
        verdict = await verification.search(
            await file.read(),
            caller=str(person_of(request)),
            on_step=lambda _step: None,
            on_speech=work.made,
        )
    return Verdict(
        watermarked=verdict.is_marked,
        message=verdict_on(is_marked=verdict.is_marked, goes_on=verdict.goes_on, on_discord=False),
    )
