"""Where payloads too large for a message are put: HTTP, as with Modal's object store."""

from __future__ import annotations

import hashlib
from itertools import count

from aiohttp import web
from modal_proto import api_pb2

MAX_BLOB_BYTES = 64 * 1024 * 1024


class BlobStore:
    """An HTTP server that keeps what it is given, in memory."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}
        self._numbers = count(1)
        self._runner: web.AppRunner | None = None
        self._url = ""

    async def start(self) -> None:
        """Listen on a free port of the loopback interface."""
        application = web.Application(client_max_size=MAX_BLOB_BYTES)
        application.router.add_put("/{blob_id}", self._put)
        application.router.add_get("/{blob_id}", self._get)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self._url = f"http://{host}:{port}"

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def number(self) -> int:
        """How many blobs were stored."""
        return len(self._blobs)

    def read(self, blob_id: str) -> bytes:
        """A stored blob."""
        return self._blobs[blob_id]

    async def blob_create(self, _request: api_pb2.BlobCreateRequest) -> api_pb2.BlobCreateResponse:
        """Say where to put a blob."""
        blob_id = f"bl-{next(self._numbers)}"
        return api_pb2.BlobCreateResponse(
            blob_ids=[blob_id],
            upload_urls=api_pb2.UploadUrlList(items=[f"{self._url}/{blob_id}"]),
        )

    async def blob_get(self, request: api_pb2.BlobGetRequest) -> api_pb2.BlobGetResponse:
        """Say where to get a blob."""
        return api_pb2.BlobGetResponse(download_url=f"{self._url}/{request.blob_id}")

    async def _put(self, request: web.Request) -> web.Response:
        data = await request.read()
        self._blobs[request.match_info["blob_id"]] = data
        # The client compares this with its own sum, as S3's ETag of a single part.
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return web.Response(headers={"ETag": f'"{etag}"'})

    async def _get(self, request: web.Request) -> web.Response:
        data = self._blobs.get(request.match_info["blob_id"])
        return web.Response(body=data) if data is not None else web.Response(status=404)
