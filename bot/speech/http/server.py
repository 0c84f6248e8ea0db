"""The connection to the server: requests, their time limits, and its answers. All HTTP is here."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp

from backend.contract import AUTO_LANGUAGE, LANGUAGES, BackendUnavailableError
from bot.speech.errors import (
    BackendBrokenError,
    BackendUnreachableError,
    SpeechInterruptedError,
    SpeechTimeoutError,
)
from bot.speech.http.errors import ANSWER_WITHIN_SECONDS, Refused, explain, translate

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

CONNECT_WITHIN_SECONDS = 8.0
DESCRIBE_WITHIN_SECONDS = 8.0
FIRST_BYTE_WITHIN_SECONDS = 150.0
"""A server may have to load its model first. One that does not stream speaks the whole sentence."""

NEXT_BYTES_WITHIN_SECONDS = 30.0

MAX_DESCRIPTION_BYTES = 1_000_000
MAX_ERROR_BYTES = 65_536
MAX_MODEL_CHARACTERS = 150

_CALLS_TO_DESCRIBE = 2
_AUDIO_TYPES = ("audio/", "application/octet-stream", "binary/octet-stream")


@dataclass(frozen=True, slots=True)
class ServerModel:
    """The model that a server speaks with, as `GET /v1/models` describes it.

    Attributes:
        name: Its name, which requests have as their `model`.
        languages: What it speaks. A server that does not say is taken to speak all.
        clones: Whether it clones voices, which a server denies where it does not.
        marks: Whether the server says that all its speech carries the watermark.
    """

    name: str
    languages: tuple[str, ...] = LANGUAGES
    clones: bool = True
    marks: bool = False


@dataclass(frozen=True, slots=True)
class SpeechAnswer:
    """Speech that a server has begun to send.

    Attributes:
        media_type: Its content type.
        headers: Its headers, by their names in lower case.
        pieces: Its bytes, as they come.
    """

    media_type: str
    headers: dict[str, str]
    pieces: AsyncGenerator[bytes, None] = field(repr=False)


class SpeechServer:
    """A server with OpenAI's speech API. Every failure is a `SpeechError`.

    Args:
        url: Its address, without the path.
        key: For its `Authorization` header, or "" for none. It is never logged, and never sent to
            another address: redirects are not followed.
        calls: The most requests at once.
    """

    def __init__(self, url: str, key: str, *, calls: int) -> None:
        self._url = url
        self._key = key
        self._calls = calls
        self._session: aiohttp.ClientSession | None = None
        self._is_closing = False

    async def close(self) -> None:
        """Break off every request. They fail with `BackendUnavailableError`."""
        self._is_closing = True
        if self._session is not None:
            await self._session.close()

    async def model(self, wanted: str) -> ServerModel:
        """Ask which model speaks there, and so whether the server would take a request.

        Args:
            wanted: The name of a model, or "" for the server's first.
        """
        try:
            async with asyncio.timeout(DESCRIBE_WITHIN_SECONDS):
                with self._translated():
                    response = await self._open().get(
                        f"{self._url}/v1/models", allow_redirects=False
                    )
                    try:
                        body = await _body(response, MAX_DESCRIPTION_BYTES)
                    finally:
                        response.release()
        except TimeoutError:
            raise BackendUnreachableError(
                f"no answer within {DESCRIBE_WITHIN_SECONDS:.0f} s"
            ) from None
        if response.status == HTTPStatus.OK:
            return _model_of(body, wanted)
        if response.status == HTTPStatus.NOT_FOUND and wanted:  # it has no list
            return ServerModel(wanted)
        refused = Refused.read(response.status, _headers(response), body)
        raise explain(refused, LANGUAGES, AUTO_LANGUAGE)

    async def is_marked(self, flac: bytes) -> bool:
        """Have a recording searched for the watermark, as Timbre's own API does."""
        form = aiohttp.FormData()
        form.add_field("file", flac, filename="recording.flac", content_type="audio/flac")
        try:
            async with asyncio.timeout(FIRST_BYTE_WITHIN_SECONDS):
                with self._translated():
                    response = await self._open().post(
                        f"{self._url}/v1/audio/verify", data=form, allow_redirects=False
                    )
                    try:
                        body = await _body(response, MAX_ERROR_BYTES)
                    finally:
                        response.close()
        except TimeoutError:
            raise SpeechTimeoutError(FIRST_BYTE_WITHIN_SECONDS) from None
        if response.status != HTTPStatus.OK:
            refused = Refused.read(response.status, _headers(response), body)
            raise explain(refused, LANGUAGES, AUTO_LANGUAGE)
        try:
            return json.loads(body)["watermarked"] is True
        except (ValueError, LookupError, TypeError, RecursionError):
            raise BackendBrokenError("the server answers with something else") from None

    @asynccontextmanager
    async def speech(
        self, body: bytes, model: ServerModel, language: str
    ) -> AsyncIterator[SpeechAnswer]:
        """Ask for speech. Leaving the block closes the connection, which ends the server's work.

        Args:
            body: The request, as JSON.
            model: The model that it asks for.
            language: What it asks it to speak.
        """
        response = await self._begun(body, model, language)
        try:
            media_type = response.headers.get("content-type", "").lower()
            if not media_type.startswith(_AUDIO_TYPES):
                raise BackendBrokenError("the server answers with something else than sound")
            yield SpeechAnswer(media_type, _headers(response), self._pieces(response))
        finally:
            response.close()

    async def _begun(
        self, body: bytes, model: ServerModel, language: str
    ) -> aiohttp.ClientResponse:
        """Send a request, and wait until speech begins to come."""
        response = None
        try:
            async with asyncio.timeout(FIRST_BYTE_WITHIN_SECONDS):
                with self._translated():
                    response = await self._open().post(
                        f"{self._url}/v1/audio/speech",
                        data=body,
                        headers={"content-type": "application/json"},
                        allow_redirects=False,
                    )
                    if response.status == HTTPStatus.OK:
                        return response
                    content = await _body(response, MAX_ERROR_BYTES)
        except BaseException as error:
            if response is not None:
                response.close()
            if isinstance(error, TimeoutError):
                raise SpeechTimeoutError(FIRST_BYTE_WITHIN_SECONDS) from None
            raise
        response.close()
        refused = Refused.read(response.status, _headers(response), content)
        raise explain(refused, model.languages, language)

    async def _pieces(self, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
        """Yield an answer's bytes. The time that the reader takes does not count."""
        loop = asyncio.get_running_loop()
        seconds_left, within = ANSWER_WITHIN_SECONDS, FIRST_BYTE_WITHIN_SECONDS
        while True:
            asked_at, within = loop.time(), min(within, seconds_left)
            try:
                async with asyncio.timeout(within):
                    with self._translated():
                        piece = await response.content.readany()
            except TimeoutError:
                raise SpeechTimeoutError(within) from None
            except BackendUnreachableError as error:
                raise SpeechInterruptedError(str(error)) from None
            if not piece:
                return
            yield piece
            seconds_left -= loop.time() - asked_at
            within = NEXT_BYTES_WITHIN_SECONDS

    def _open(self) -> aiohttp.ClientSession:
        if self._is_closing:
            raise BackendUnavailableError("the bot is shutting down")
        if self._session is None:
            headers = {"accept-encoding": "identity"}
            if self._key:
                headers["authorization"] = f"Bearer {self._key}"
            self._session = aiohttp.ClientSession(
                headers=headers,
                connector=aiohttp.TCPConnector(limit=self._calls + _CALLS_TO_DESCRIBE),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_WITHIN_SECONDS),
            )
        return self._session

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - translated
            if self._is_closing:
                raise BackendUnavailableError("the bot is shutting down") from None
            raise translate(error) from None


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


async def _body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Read a body to its end, or up to a limit."""
    body = bytearray()
    while len(body) <= limit and (piece := await response.content.readany()):
        body += piece
    return bytes(body[:limit])


def _model_of(body: bytes, wanted: str) -> ServerModel:
    """Find the model in an answer of `GET /v1/models`.

    Only OpenAI's field `id` is needed. Timbre's own API says more of its models.
    """
    try:
        entries = json.loads(body)["data"]
        models = [_described(entry) for entry in entries]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise BackendBrokenError("the server has no list of models at /v1/models") from None
    named = [model for model in models if wanted in {model.name, ""}]
    if named:
        return named[0]
    if len(models) == 1:  # by another of its names, maybe
        return replace(models[0], name=wanted)
    if wanted:
        return ServerModel(wanted)
    raise BackendBrokenError("the server has no model")


def _described(entry: Any) -> ServerModel:
    name = entry["id"]
    if not isinstance(name, str) or not 0 < len(name) <= MAX_MODEL_CHARACTERS:
        raise ValueError("a model has no name")
    spoken = entry.get("languages")
    languages: tuple[str, ...] = LANGUAGES
    if isinstance(spoken, list):
        languages = tuple(each for each in LANGUAGES if each == AUTO_LANGUAGE or each in spoken)
    return ServerModel(
        name,
        languages,
        clones=entry.get("clones") is not False,
        marks=entry.get("watermarked") is True,
    )
