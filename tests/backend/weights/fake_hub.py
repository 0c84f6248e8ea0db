"""A model hub on loopback that serves one small repository, and can fail in the usual ways."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

REPOSITORY = "someone/tiny-model"


def files_in(folder: Path) -> dict[str, bytes]:
    """A folder's contents by path, as `FakeHub.files`."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _is_large(content: bytes) -> bool:
    return len(content) > 1_000


def _blob_id(content: bytes) -> str:
    header = f"blob {len(content)}\0".encode()
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


def _etag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest() if _is_large(content) else _blob_id(content)


@dataclass
class FakeHub:
    """Serves `files` as the repository's only commit, known as "main" too.

    Attributes:
        files: Contents by path. Those over 1,000 bytes have checksums, as large files have.
        commit: Names the current state of `files`.
        cut: How many bytes of a file the next download of it gets before the connection breaks.
        goes_away: Whether the hub refuses every request after that.
        says: What its API answers in place of the repository's description.
        status: What every request is answered with; None for what it asks for. After some, such as
            503, the hub's client waits and asks again.
        downloads: Every download so far: the file and the byte it began at.
    """

    files: dict[str, bytes]
    commit: str = "a" * 40
    cut: dict[str, int] = field(default_factory=dict)
    goes_away: bool = False
    says: bytes | None = None
    status: HTTPStatus | None = None
    downloads: list[tuple[str, int]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def endpoint(self) -> str:
        """The hub's address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def describe(self) -> dict[str, object]:
        """What the hub's API says of the repository."""
        siblings: list[dict[str, object]] = []
        for path, content in self.files.items():
            sibling: dict[str, object] = {"rfilename": path, "size": len(content)}
            sibling["blobId"] = _blob_id(content)
            if _is_large(content):
                sibling["lfs"] = {
                    "sha256": _etag(content),
                    "size": len(content),
                    "pointerSize": 130,
                }
            siblings.append(sibling)
        return {"id": REPOSITORY, "sha": self.commit, "siblings": siblings}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, hub: FakeHub, *connection: Any) -> None:
        self._hub = hub
        super().__init__(*connection)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        if self._hub.status is not None:
            self._send(b"", {}, self._hub.status)
            return
        about = f"/api/models/{REPOSITORY}"
        if path in {about, *(f"{about}/revision/{name}" for name in self._revisions())}:
            described = json.dumps(self._hub.describe()).encode()
            self._send(described if self._hub.says is None else self._hub.says, {})
            return
        for revision in self._revisions():
            start = f"/{REPOSITORY}/resolve/{revision}/"
            if path.startswith(start) and path.removeprefix(start) in self._hub.files:
                self._send_file(path.removeprefix(start), with_body=with_body)
                return
        self._send(b"", {"X-Error-Code": "RepoNotFound"}, HTTPStatus.NOT_FOUND)

    def _revisions(self) -> tuple[str, str]:
        return self._hub.commit, "main"

    def _send_file(self, path: str, *, with_body: bool) -> None:
        content = self._hub.files[path]
        headers = {
            "ETag": f'"{_etag(content)}"',
            "X-Repo-Commit": self._hub.commit,
            "Accept-Ranges": "bytes",
        }
        if not with_body:
            self._send(content, headers, with_body=False)
            return
        first = int(self.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
        self._hub.downloads.append((path, first))
        status = HTTPStatus.PARTIAL_CONTENT if first else HTTPStatus.OK
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        self._send(content[first:], headers, status, cut=self._hub.cut.pop(path, None))

    def _send(
        self,
        body: bytes,
        headers: dict[str, str],
        status: HTTPStatus = HTTPStatus.OK,
        *,
        with_body: bool = True,
        cut: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            if cut is not None and self._hub.goes_away:
                self._hub.status = HTTPStatus.TOO_MANY_REQUESTS
            self.wfile.write(body[:cut])
        self.close_connection = self.close_connection or cut is not None
