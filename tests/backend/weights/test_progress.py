"""A person at the terminal learns how large a download is, how far, and why it failed."""

from __future__ import annotations

import errno
import io
import json
import re
import shutil
from collections import namedtuple
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
import requests
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

from backend.contract import BackendUnavailableError
from backend.weights.checkpoints import DEFAULT_MODEL_ID, SMALL_MODEL_ID, label_of
from backend.weights.download import download
from backend.weights.hub import explain, is_transient
from backend.weights.progress import shown_progress, size
from backend.weights.store import folder_of
from tests.backend.weights.fake_hub import REPOSITORY, FakeHub
from tests.backend.weights.test_download import pin, reach

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Usage = namedtuple("Usage", "total used free")  # noqa: PYI024 - as shutil's

WHISPER = {
    "config.json": b"{}",
    "model.bin": b"whisper" * 400_000,
    "tokenizer.json": b"{}",
    "vocabulary.txt": b"a",
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with a transcriber."""
    monkeypatch.setattr("backend.weights.store.PUBLISHED", ())
    monkeypatch.setattr("backend.weights.download.PAUSES", (0.0,))
    with FakeHub(WHISPER) as hub:
        reach(monkeypatch, hub.endpoint)
        yield hub


def test_the_size_is_told_before_and_the_progress_until_the_end(
    hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.cut["model.bin"], hub.goes_away = 2_000_000, True
    with pytest.raises(BackendUnavailableError, match="429"):
        download(REPOSITORY, tmp_path)
    told, begun, *_ = capsys.readouterr().err.splitlines()
    assert told.startswith(f"Downloading tiny-model (3 MB), once, into {tmp_path}. Ctrl-C stops")
    assert begun == "    0 %  0 MB of 3 MB"

    hub.status = None
    download(REPOSITORY, tmp_path)
    told, begun, *_, ended = capsys.readouterr().err.splitlines()
    assert "2 MB of it are there. Ctrl-C stops" in told
    assert begun.startswith("   71 %")
    assert ended.startswith("  100 %")

    download(REPOSITORY, tmp_path)
    assert not capsys.readouterr().err, "the weights are there"


def test_what_does_not_fit_on_the_disk_is_not_begun(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12, 150_000_000))
    with pytest.raises(BackendUnavailableError, match="need 3 MB more, but only 150 MB are free"):
        download(REPOSITORY, tmp_path / "not" / "there" / "yet")
    assert not hub.downloads


def test_a_terminal_has_one_line_that_changes() -> None:
    came = [0]
    terminal, file = Terminal(), io.StringIO()
    with (
        shown_progress(lambda: came[0], 10**9, terminal),
        shown_progress(lambda: came[0], 10**9, file),
    ):
        came[0] = 10**9
    for out, lines in (terminal, 1), (file, 2):
        assert out.getvalue().count("\n") == lines
        assert "  0 %  0 MB of 1.00 GB" in out.getvalue()
        assert out.getvalue().rstrip().endswith("100 %  1.00 GB of 1.00 GB")


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 MB"), (145_400_000, "145 MB"), (2_516_106_051, "2.52 GB")]
)
def test_sizes_are_for_people(count: int, told: str) -> None:
    assert size(count) == told


def test_models_have_the_names_that_people_use() -> None:
    names = [DEFAULT_MODEL_ID, SMALL_MODEL_ID, "Systran/faster-whisper-base", "someone/model"]
    assert [*map(label_of, names)] == ["Qwen3-TTS 1.7B", "Qwen3-TTS 0.6B", "Whisper base", "model"]


def answer(status: int) -> HfHubHTTPError:
    response = requests.Response()
    response.status_code = status
    return HfHubHTTPError("no", response=response)


def wrapped(cause: Exception) -> LocalEntryNotFoundError:
    """As the hub's client raises it if it can't ask for a file."""
    error = LocalEntryNotFoundError("no")
    error.__cause__ = cause
    return error


FAILURES: list[tuple[Exception, str, bool]] = [
    (requests.ConnectionError(), "can't be reached. Check the network", True),
    (requests.Timeout(), "can't be reached. Check the network", True),
    (requests.exceptions.SSLError(), "certificate of huggingface.co can't be verified", False),
    (requests.exceptions.ProxyError(), "this machine's proxy doesn't let me", False),
    (OfflineModeIsEnabled(), "HF_HUB_OFFLINE is set. Unset it", False),
    (answer(401), "no such model for everyone. Check its name", False),
    (answer(403), "no such model for everyone", False),
    (answer(404), "no such model for everyone", False),
    (answer(429), r"answered with an error \(429\). Start again later", True),
    (answer(503), r"answered with an error \(503\). Start again later", True),
    (OSError(errno.ENOSPC, "No space left on device"), "the disk of .* is full", False),
    (
        PermissionError(errno.EACCES, "Permission denied"),
        "Permission denied.*WEIGHTS_FOLDER",
        False,
    ),
    (ValueError("not a name"), "ValueError. Check the name", False),
]


@pytest.mark.parametrize(("error", "told", "may_pass"), FAILURES)
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_a_failure_is_told_with_what_to_do(
    tmp_path: Path, error: Exception, told: str, may_pass: bool, is_wrapped: bool
) -> None:
    raised = wrapped(error) if is_wrapped else error
    assert is_transient(raised) == may_pass
    assert re.search(told, explain(raised, tmp_path))


@pytest.mark.parametrize("error", [requests.ConnectionError(), requests.ReadTimeout()])
def test_what_broke_off_goes_on_later(tmp_path: Path, error: Exception) -> None:
    assert "broke off" in explain(error, tmp_path, has_begun=True)
    assert "goes on from there" in explain(error, tmp_path, has_begun=True)


OUTSIDE = {"size": 9, "blobId": "0" * 40, "lfs": {"sha256": "0" * 64, "size": 9, "pointerSize": 1}}
STRANGE: list[object] = [
    "<html>Log in to our Wi-Fi</html>",
    [],
    {"error": "blocked"},
    {"id": REPOSITORY, "siblings": 5},
    {"id": REPOSITORY, "siblings": [{"size": 5}]},
    {"id": REPOSITORY, "siblings": [{"rfilename": "a.json", "size": "huge"}]},
    {"id": REPOSITORY, "siblings": [{"rfilename": "a.json", "size": -(10**18)}]},
    {"id": REPOSITORY, "siblings": [{"rfilename": "../precious.json", **OUTSIDE}]},
    {"id": REPOSITORY, "siblings": [{"rfilename": "..\\precious.json", **OUTSIDE}]},
    {"id": REPOSITORY, "siblings": [{"rfilename": "a/../../precious.json", **OUTSIDE}]},
    {"id": REPOSITORY, "siblings": [{"rfilename": "/etc/precious.json", **OUTSIDE}]},
]


@pytest.mark.parametrize("says", STRANGE, ids=str)
def test_what_is_no_hub_is_told_and_touches_nothing(
    hub: FakeHub, tmp_path: Path, says: object
) -> None:
    hub.says = says.encode() if isinstance(says, str) else json.dumps(says).encode()
    precious = tmp_path / "precious.json"
    precious.write_text("mine")
    with pytest.raises(BackendUnavailableError, match=r"isn't a model hub\. If this network"):
        download(REPOSITORY, tmp_path)
    assert [*tmp_path.iterdir()] == [precious]
    assert precious.read_text() == "mine"


@pytest.mark.parametrize("status", [401, 404, 429, 503])
def test_a_hub_that_refuses_is_told(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    pin(monkeypatch, hub.commit)
    hub.status = HTTPStatus(status)
    with pytest.raises(BackendUnavailableError, match=REPOSITORY) as refused:
        download(REPOSITORY, tmp_path)
    assert len(str(refused.value).splitlines()) == 1
    assert not folder_of(REPOSITORY, tmp_path).exists()
