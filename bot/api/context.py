"""What the routes work with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bot.api.recordings import CountedRecordings
from bot.errors import Reason, Refusal

if TYPE_CHECKING:
    from starlette.requests import Request

    from backend.sent_audio import FetchAudio
    from bot.api.keys import KeyRing
    from bot.api.requests import ApiRequest, ApiRequests
    from bot.guilds.access import Action
    from bot.services import Services


@dataclass(frozen=True, slots=True)
class ApiContext:
    """What the routes work with.

    Attributes:
        services: What every front works with.
        requests: The requests that are being answered.
        keys: Tells whose key it is.
        fetch: Downloads the recording at an address.
        counted: The recordings that count against today's limits already.
    """

    services: Services
    requests: ApiRequests
    keys: KeyRing
    fetch: FetchAudio
    counted: CountedRecordings = field(default_factory=CountedRecordings)

    def require_database(self) -> None:
        """Raise `Refusal` if no voices are kept here."""
        if not self.services.settings.has_database:
            raise Refusal(Reason.NO_VOICES_KEPT)


def context_of(request: Request) -> ApiContext:
    """What a route works with."""
    context: ApiContext = request.app.state.context
    return context


def person_of(request: Request) -> int:
    """The Discord id of the person whose key the request has."""
    person: int = request.state.person
    return person


async def has_key_still(request: Request) -> bool:
    """Whether a request's key still works. It ends with all else that is kept about its person."""
    return await context_of(request).keys.person_of(request.state.key) is not None


def opened(request: Request, action: Action) -> ApiRequest:
    """A request of that person, to be used as a context manager."""
    return context_of(request).requests.request(person_of(request), action)
