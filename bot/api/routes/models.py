"""`GET /v1/models`: which model speaks here, and by which names it goes."""

# FastAPI reads the annotations here at run time.

from http import HTTPStatus

from fastapi import APIRouter, Request

from backend.contract import AUTO_LANGUAGE
from bot.api.context import ApiContext, context_of
from bot.api.errors import ApiError
from bot.api.schemas import RESPONSES, Model, ModelList

OPENAI_MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-12-15")
"""What clients send that were written for OpenAI's service."""

MADE = 1_764_547_200
"""When models were "created": 2025-12-01, some day. OpenAI's form asks for a time."""

router = APIRouter(tags=["models"])


@router.get("/v1/models", responses=RESPONSES, summary="List the models")
async def list_models(request: Request) -> ModelList:
    """There is one: the model that speaks here."""
    return ModelList(data=[_model(context_of(request))])


@router.get("/v1/models/{model:path}", responses=RESPONSES, summary="Describe a model")
async def describe_model(model: str, request: Request) -> Model:
    """Describe the model that speaks here, by any of its names."""
    context = context_of(request)
    check_model(context, model)
    return _model(context)


def check_model(context: ApiContext, wanted: str | None) -> None:
    """Raise `ApiError` if another model is wanted than the one that speaks here."""
    model_id = context.services.studio.backend.model_id
    name = model_id.partition("@")[0]
    known = {model_id, name, name.rpartition("/")[-1], *OPENAI_MODELS}
    if wanted is not None and wanted not in known:
        raise ApiError(
            HTTPStatus.NOT_FOUND,
            f"That model isn't here. Use {name}, or leave `model` out.",
            code="model_not_found",
            param="model",
        )


def _model(context: ApiContext) -> Model:
    backend = context.services.studio.backend
    languages = [name for name in backend.languages if name != AUTO_LANGUAGE]
    return Model(
        id=backend.model_id,
        created=MADE,
        owned_by="timbre",
        clones=backend.clones,
        languages=languages,
        watermarked=backend.marks,
    )
