"""`GET /health` and `GET /ready`, for whatever watches the service. They need no key."""

# FastAPI reads the annotations here at run time.

import asyncio
import time

from fastapi import APIRouter, Request, Response

from backend.contract import SpeechError
from bot.api.context import ApiContext, context_of
from bot.api.schemas import Status
from bot.interface.wording.sentences import engine_state

SECONDS_KEPT = 2.0
"""For so long, everybody who asks gets the same answer."""

router = APIRouter(tags=["status"])


class Readiness:
    """Whether the voice engine would take a request, asked at most every `SECONDS_KEPT`."""

    def __init__(self) -> None:
        self._asking: asyncio.Future[Status] | None = None
        self._asked_at = 0.0

    async def status(self, context: ApiContext) -> Status:
        """Return how the voice engine is doing."""
        if self._asking is None or time.monotonic() - self._asked_at > SECONDS_KEPT:
            self._asked_at = time.monotonic()
            self._asking = asyncio.ensure_future(_ask(context))
        return await asyncio.shield(self._asking)


async def _ask(context: ApiContext) -> Status:
    problem: SpeechError | TimeoutError | None = None
    if context.requests.closed_for is not None:
        return Status(status="stopping", message="It's restarting.")
    try:
        await context.services.studio.health()
    except (SpeechError, TimeoutError) as error:
        problem = error
    status = "ready" if problem is None else "not ready"
    return Status(status=status, message=engine_state(problem))


@router.get("/health", summary="Whether the service runs")
async def health() -> Status:
    """Answers as long as the process does, whatever the voice engine does."""
    return Status(status="ok")


@router.get(
    "/ready",
    responses={503: {"model": Status, "description": "Not yet, or not now."}},
    summary="Whether the voice engine would take a request",
)
async def ready(request: Request, response: Response) -> Status:
    """On Modal, no container runs while nobody speaks. That is ready: a request starts one."""
    readiness: Readiness = request.app.state.readiness
    status = await readiness.status(context_of(request))
    if status.status != "ready":
        response.status_code = 503
    return status
