"""The application: the routes, and how every error is answered."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser

from backend.contract import SpeechError
from bot.api.bodies import BodyError
from bot.api.errors import ApiError, api_error, invalid_request
from bot.api.middleware import ApiMiddleware
from bot.api.routes import models, speech, status, verify, voices
from bot.audio.reference import MAX_UPLOAD_MEGABYTES
from bot.errors import Refusal

if TYPE_CHECKING:
    from fastapi.responses import JSONResponse

    from bot.api.context import ApiContext

# Recordings stay in memory, which `BodyBudget` bounds. Starlette would write them to the disk.
MultiPartParser.spool_max_size = MAX_UPLOAD_MEGABYTES * 1024 * 1024 + 1

_DESCRIPTION = """\
Speaks in the voices that people saved on Discord, or like a recording that comes with the request.
The routes and errors have OpenAI's form, so its clients work against this service.

Every request under `/v1` needs a key: `Authorization: Bearer YOUR_KEY`. A key stands for a person.
"""


def create_app(context: ApiContext) -> ApiMiddleware:
    """Build the application.

    Args:
        context: What the routes work with.
    """
    app = FastAPI(
        title="Timbre",
        version=version("timbre"),
        description=_DESCRIPTION,
        redoc_url=None,
    )
    app.state.context = context
    app.state.readiness = status.Readiness()
    app.include_router(status.router)
    bearer: Any = HTTPBearer(
        auto_error=False
    )  # `ApiMiddleware` checks it; this is for the document
    for router in (speech.router, voices.router, verify.router, models.router):
        app.include_router(router, dependencies=[Depends(bearer)])
    for kind in (ApiError, Refusal, SpeechError, HTTPException, Exception):
        app.add_exception_handler(kind, _answer)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    return ApiMiddleware(app, context)


async def _answer(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, BodyError):
        error = error.error
    recording = getattr(request.state, "recording", None)
    told = api_error(error, recording=recording, request_id=request.state.request_id)
    return told.response()


async def _answer_invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for these alone
    return invalid_request(error).response()
