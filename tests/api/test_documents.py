"""Every example of docs/api.md runs, in the order of the page, as its reader types it."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bot import __main__ as command_line
from tests.support.api import ANA, KEYS, Api

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
EXAMPLE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def examples() -> Iterator[tuple[str, str]]:
    for match in EXAMPLE.finditer(PAGE.read_text("utf-8")):
        yield match[1], match[2]


@pytest.mark.slow
async def test_every_example_runs(api: Api, recording: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "reader"
    await asyncio.to_thread(folder.mkdir)
    await asyncio.to_thread((folder / "me.wav").write_bytes, recording)
    environment = {**os.environ, "TIMBRE_URL": api.url, "TIMBRE_KEY": KEYS[ANA]}
    ran = []
    for language, code in examples():
        if language not in {"sh", "python"} or code.startswith("export "):
            continue
        program = ["bash", "-e", "-c"] if language == "sh" else [sys.executable, "-c"]
        process = await asyncio.create_subprocess_exec(
            *program,
            code,
            cwd=folder,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0, out.decode()
        ran.append(out.decode())
    assert len(ran) == 7
    saved, listed, _, _, streamed, _openai, verified = ran
    assert '"name":"Me"' in saved
    assert '"total":1' in listed
    assert "speech.audio.done" in streamed
    assert "leaves no mark" in verified
    sizes = await asyncio.to_thread(lambda: {p.name: p.stat().st_size for p in folder.iterdir()})
    assert all(sizes[name] > 1_000 for name in ("speech.mp3", "speech.wav", "speech.ogg"))


def test_the_commands_of_the_page_are_there() -> None:
    parser = command_line._parser()
    for language, code in examples():
        if not language:
            for line in code.splitlines():
                if line.startswith(".venv/bin/python -m bot "):
                    typed = line.removeprefix(".venv/bin/python -m bot ")
                    parser.parse_args(typed.replace("YOUR_DISCORD_ID", "7").split())
    assert parser.parse_args(["run", "--api", "--port", "1"]).api
