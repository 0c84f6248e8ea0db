"""What the OpenAPI document says of errors, in every route."""

from __future__ import annotations

from typing import Any

from bot.api.schemas import ErrorBody

_WHEN = {
    400: "A field is missing or can't be used; `param` names it.",
    401: "The key is missing, or isn't one of this service.",
    403: "You, or this voice, may not be used here.",
    404: "There's no such voice, model or address.",
    408: "The body came too slowly.",
    413: "The body or the recording is too large.",
    429: "A limit is reached; `Retry-After` says when it works again.",
    500: "Something broke.",
    503: "The service is full, restarting, or its voice engine isn't there.",
    504: "The voice engine took too long.",
}

RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": description}
    for status, description in _WHEN.items()
}
"""For `responses=` of each route."""
