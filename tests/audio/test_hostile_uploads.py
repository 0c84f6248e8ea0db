"""No upload makes the bot open other files, hang, fill its memory, leave files or quote it."""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
import tracemalloc
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.audio.decode import ffmpeg_path
from bot.errors import Refusal
from bot.interface.wording.sentences import explain
from tests.audio import hostile
from tests.support.recordings import as_file, speech

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bot.audio.reference import ReferenceReader

GROUPS = (hostile.playlists, hostile.not_recordings, hostile.broken, hostile.no_speech)


@pytest.fixture
def visits() -> list[str]:
    return []


@pytest.fixture
def bait(visits: list[str], tmp_path: Path) -> Iterator[hostile.Bait]:
    class NoteEveryVisit(BaseHTTPRequestHandler):
        def handle(self) -> None:
            visits.append("visited")

    with ThreadingHTTPServer(("127.0.0.1", 0), NoteEveryVisit) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        path = tmp_path / "somebody-else.wav"
        path.write_bytes(as_file(speech(6.0), 24_000, "wav"))
        yield hostile.Bait(f"http://127.0.0.1:{server.server_port}", path)
        server.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__)
async def test_each_is_refused_in_a_sentence_and_leaves_nothing(
    group: Callable[[hostile.Bait], dict[str, bytes]],
    bait: hostile.Bait,
    visits: list[str],
    reader: ReferenceReader,
    child_processes: Callable[[], set[int]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    uploads = group(bait)
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    accepted = []
    for name, upload in uploads.items():
        before = time.monotonic()
        try:
            await reader.read(upload, transcript_given=False)
        except Refusal as refusal:
            sentence, values = explain(refusal), refusal.values.values()
            assert all(isinstance(value, int | float) for value in values), name
            assert sentence[0].isupper(), name
            assert sentence.endswith("."), name
            assert 30 < len(sentence) < 250, name
            assert "evil" not in sentence, name
            assert "@" not in sentence, name
        else:
            accepted.append(name)
        assert time.monotonic() - before < 12, name
    assert accepted == []
    assert visits == []
    assert list(folder.iterdir()) == []
    assert child_processes() == set()


async def test_a_mov_does_not_pull_in_another_file(
    bait: hostile.Bait, reader: ReferenceReader
) -> None:
    upload = hostile.mov_with_its_sound_elsewhere(bait)
    with pytest.raises(Refusal):
        await reader.read(upload, transcript_given=False)


@pytest.mark.parametrize("trap", ["ffconcat", "mov"])
def test_a_careless_ffmpeg_takes_the_bait(trap: str, bait: hostile.Bait, tmp_path: Path) -> None:
    """The traps can spring: read without our options, they give somebody else's speech."""
    mov = hostile.mov_with_its_sound_elsewhere(bait) if trap == "mov" else b""
    upload = tmp_path / "upload"
    upload.write_bytes(mov or hostile.playlists(bait)[trap])
    careless = {
        "mov": ["-enable_drefs", "1", "-use_absolute_path", "1"],
        "ffconcat": ["-safe", "0"],
    }[trap]
    command = [ffmpeg_path(), "-nostdin", *careless, "-i", str(upload), "-f", "f32le", "-"]
    heard = subprocess.run(command, capture_output=True, check=True).stdout  # noqa: S603 - ours
    assert np.abs(np.frombuffer(heard, np.float32)).max() > 0.1


@pytest.mark.parametrize("suffix", ["wav", "mp3", "m4a", "ogg", "flac", "webm"])
async def test_a_file_that_breaks_off_is_used_or_refused(
    suffix: str, reader: ReferenceReader
) -> None:
    whole = as_file(speech(6.0), 24_000, suffix)
    for eighths in range(8):
        with suppress(Refusal):
            audio = await reader.read(whole[: len(whole) * eighths // 8], transcript_given=False)
            assert 3 <= audio.seconds < 6


async def test_two_hours_of_silence_do_not_fill_the_memory(reader: ReferenceReader) -> None:
    upload = hostile.two_hours_of_silence()
    tracemalloc.start()
    try:
        with pytest.raises(Refusal):
            await reader.read(upload, transcript_given=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 300_000_000


GOOD_FILES = ("wav", "mp3", "m4a", "ogg", "flac", "webm", "mp4")


@pytest.mark.slow
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    suffix=st.sampled_from(GOOD_FILES),
    hits=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=8)),
        min_size=1,
        max_size=20,
    ),
    in_header=st.booleans(),
)
async def test_damaged_files_are_used_or_refused(
    suffix: str, hits: list[tuple[float, bytes]], in_header: bool, reader: ReferenceReader
) -> None:
    damaged = bytearray(good_file(suffix))
    reach = 200 if in_header else len(damaged)
    for where, what in hits:
        at = int(where * reach)
        damaged[at : at + len(what)] = what
    with suppress(Refusal):
        audio = await reader.read(bytes(damaged), transcript_given=False)
        assert 3 <= audio.seconds <= 30
        assert np.isfinite(audio.samples).all()
        assert np.abs(audio.samples).max() <= 1


def good_file(suffix: str) -> bytes:
    if suffix not in _good_files:
        _good_files[suffix] = as_file(speech(4.0), 24_000, suffix)
    return _good_files[suffix]


_good_files: dict[str, bytes] = {}
