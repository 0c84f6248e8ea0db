"""The model hub: what a repository holds, how it is downloaded, and why that fails."""

from __future__ import annotations

import errno
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from huggingface_hub import HfApi, constants, snapshot_download, utils
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_untyped: Any = utils  # exports names without saying so

ENDPOINT = constants.ENDPOINT
"""The hub's address, or what `HF_ENDPOINT` names in its place."""

FAILURES = (OSError, ValueError, RuntimeError)
"""The bases of what the hub's client raises."""

_FILES = ["*.json", "*.txt", "*.safetensors", "model.bin"]
"""The model.bin of a Whisper model is no pickle. Other weights may be, and those can run code."""

_ANSWERS_WITHIN_SECONDS = 20
_PIECE_BYTES = 1_000_000
"""What comes is written in such pieces. What came of the next one is lost if the connection is."""

_NOT_UNDERSTOOD = (AttributeError, LookupError, TypeError)
"""What the hub's client raises if an answer has other fields, or none."""

_ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

_NO_SUCH = (401, 403, 404, 410)
"""The hub answers 401 for what doesn't exist, too, unless the caller has a token."""


class StrangeAnswerError(ValueError):
    """What answers isn't a hub, such as the page of a Wi-Fi that wants a login first."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository.

    Attributes:
        name: Its path in the repository, with slashes. It leads nowhere else.
        size: In bytes.
        etag: What the hub's client names its content by: a SHA-1 or SHA-256 in hexadecimal, or ""
            if that isn't known.
    """

    name: str
    size: int
    etag: str

    @classmethod
    def checked(cls, name: str, size: int, etag: str) -> HubFile:
        """Return the file. Raises `StrangeAnswerError` if no hub would say that."""
        path = PureWindowsPath(name)  # takes slashes, too
        if path.anchor or ".." in path.parts or not path.name or size < 0:
            raise StrangeAnswerError
        return cls(name, size, etag if _ETAG.fullmatch(etag) else "")


def files_of(repo_id: str, commit: str | None, *, token: str | None = None) -> list[HubFile]:
    """Ask the hub which files a repository's weights consist of.

    Args:
        repo_id: The repository.
        commit: Of that commit; None for the latest.
        token: For the hub; public models need none.

    Raises one of `FAILURES`.
    """
    try:
        about = HfApi(endpoint=ENDPOINT).model_info(
            repo_id,
            revision=commit,
            timeout=_ANSWERS_WITHIN_SECONDS,
            files_metadata=True,
            token=token or False,
        )
        wanted = _untyped.filter_repo_objects(
            about.siblings or [], allow_patterns=_FILES, key=lambda each: each.rfilename
        )
        return [
            HubFile.checked(
                each.rfilename,
                each.size or 0,
                each.lfs.sha256 if each.lfs else each.blob_id or "",
            )
            for each in wanted
        ]
    except (requests.exceptions.InvalidJSONError, *_NOT_UNDERSTOOD) as error:
        raise StrangeAnswerError from error


def fetch(
    repo_id: str, commit: str | None, folder: Path, *, token: str | None, by_xet: bool
) -> None:
    """Download a repository's weights into a folder. Files that are there in part are continued.

    Args:
        repo_id: The repository.
        commit: That commit; None for the latest.
        folder: Where to put them.
        token: For the hub; public models need none.
        by_xet: Whether to use Xet, the hub's protocol for fast networks. It begins a file again
            that it did not finish: https://github.com/huggingface/xet-core/issues/358

    Raises one of `FAILURES`. Returns also if the hub does not answer but the folder holds anything.
    """
    with _quiet_client(by_xet=by_xet):
        snapshot_download(
            repo_id,
            revision=commit,
            local_dir=folder,
            cache_dir=folder / ".cache",  # a file in the shared cache may be cut off
            allow_patterns=_FILES,
            token=token or False,
            endpoint=ENDPOINT,
        )


def is_transient(error: Exception) -> bool:
    """Whether the same download may succeed a moment later."""
    cause = _root(error)
    if isinstance(cause, HfHubHTTPError):
        return _status(cause) not in _NO_SUCH
    lasting = (OfflineModeIsEnabled, requests.exceptions.SSLError, requests.exceptions.ProxyError)
    return isinstance(cause, requests.RequestException) and not isinstance(cause, lasting)


def explain(error: Exception, folder: Path, *, has_begun: bool = False) -> str:
    """Say why a download failed and what to do, for the operator. The last full stop is left out.

    Args:
        error: What was raised.
        folder: Where the download goes.
        has_begun: Whether a part of it had come.
    """
    host = urlsplit(ENDPOINT).netloc or ENDPOINT
    match _root(error):
        case OfflineModeIsEnabled():
            why = "HF_HUB_OFFLINE is set. Unset it, then start again"
        case HfHubHTTPError() as refused if _status(refused) in _NO_SUCH:
            why = f"{host} has no such model for everyone. Check its name"
        case HfHubHTTPError() as refused:
            why = (
                f"{host} answered with an error ({_status(refused)}). Start again later; "
                "what has come is kept"
            )
        case StrangeAnswerError():
            why = (
                f"what answers as {host} isn't a model hub. If this network wants a login first, "
                "log in, then start again"
            )
        case requests.exceptions.ProxyError():
            why = (
                f"this machine's proxy doesn't let me reach {host}. "
                "Check HTTPS_PROXY, then start again"
            )
        case requests.exceptions.SSLError():
            why = (
                f"the certificate of {host} can't be verified. Check this machine's clock; behind "
                "a company's proxy, name its certificate in REQUESTS_CA_BUNDLE"
            )
        case requests.RequestException():
            what = (
                f"the connection to {host} broke off" if has_begun else f"{host} can't be reached"
            )
            goes_on = "; it goes on from there" if has_begun else ""
            why = f"{what}. Check the network, then start again{goes_on}"
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            why = f"the disk of {folder} is full. Free some space, then start again"
        case OSError(errno=int(), strerror=str(problem)):
            why = (
                f"{folder} can't be used ({problem}). Name another folder with WEIGHTS_FOLDER, "
                "then start again"
            )
        case cause:
            why = f"{type(cause).__name__}. Check the name and the network, then start again"
    return why


def _root(error: BaseException) -> BaseException:
    """What the hub's client wraps in errors of its own."""
    known = (requests.RequestException, StrangeAnswerError)
    while error.__cause__ is not None and not isinstance(error, known):
        error = error.__cause__
    if isinstance(error, HfHubHTTPError) and error.response is None and error.__cause__ is not None:
        return _root(error.__cause__)
    return error


def _status(error: HfHubHTTPError) -> int | None:
    return None if error.response is None else error.response.status_code


@contextmanager
def _quiet_client(*, by_xet: bool) -> Iterator[None]:
    """Let the hub's client neither draw bars, one for each file, nor log, and write often."""
    drew_bars = not _untyped.are_progress_bars_disabled()
    verbosity = _untyped.logging.get_verbosity()
    without_xet, piece = constants.HF_HUB_DISABLE_XET, constants.DOWNLOAD_CHUNK_SIZE
    _untyped.disable_progress_bars()
    _untyped.logging.set_verbosity_error()
    constants.HF_HUB_DISABLE_XET = without_xet or not by_xet
    constants.DOWNLOAD_CHUNK_SIZE = min(piece, _PIECE_BYTES)
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_XET = without_xet
        constants.DOWNLOAD_CHUNK_SIZE = piece
        _untyped.logging.set_verbosity(verbosity)
        if drew_bars:
            _untyped.enable_progress_bars()
