"""The process host while a model hangs. `tests/commands/` has what people notice of it."""

from __future__ import annotations

import asyncio
import errno
import multiprocessing
import os
import subprocess
import sys
import time
from contextlib import aclosing
from pathlib import Path

import pytest

from backend.contract import BackendUnavailableError, SpeechRequest, VoicePrompt
from bot.speech.errors import BackendKeepsFailingError, SpeechStuckError
from bot.speech.worker.host import WorkerBackend
from bot.speech.worker.watch import Limits
from tests.speech.worker import loaders
from tests.speech.worker.loaders import MODEL_ID
from tests.support import hanging_model
from tests.support.voice_guild import eventually

pytestmark = [pytest.mark.slow, pytest.mark.realtime]


def request_for(chunks: int, name: str = "") -> SpeechRequest:
    return SpeechRequest(f"{chunks} {name}".strip(), VoicePrompt(b"100", MODEL_ID))


async def says(backend: WorkerBackend, request: SpeechRequest) -> int:
    return len([chunk async for chunk in backend.speak(request)])


def process_ids() -> set[int]:
    return {child.pid for child in multiprocessing.active_children() if child.pid is not None}


async def test_a_frame_that_never_ends_ends_the_process() -> None:
    """And whoever was heard, or made the next process hang as well, is told."""
    backend = WorkerBackend(loaders.load, limits=Limits(beat=0.05, step=0.7))
    await backend.start()
    (before,) = process_ids()
    others = asyncio.ensure_future(says(backend, request_for(4000)))
    await asyncio.sleep(0.2)
    async with aclosing(backend.speak(request_for(1, name="hang"))) as chunks:
        hanging = asyncio.ensure_future(anext(chunks))
        with pytest.raises(SpeechStuckError, match="no step of the model ended for 1 s"):
            await others
        hanging.cancel()
        await asyncio.wait([hanging])
    await eventually(lambda: before not in process_ids())
    await backend.close()


async def test_a_call_that_the_model_forgets_ends_the_process(tmp_path: Path) -> None:
    """Nothing else shows that it hangs: it answers, and its thread has nothing to do."""
    limits = Limits(beat=0.05, sentence=0.5)
    backend = WorkerBackend(hanging_model.loader(tmp_path), limits=limits)
    await backend.start()
    request = SpeechRequest("I am forgotten.", VoicePrompt(b"", hanging_model.MODEL_ID))
    with pytest.raises(SpeechStuckError, match="speak was not done within"):
        await anext(backend.speak(request))
    with pytest.raises(BackendKeepsFailingError):
        await backend.health()
    await backend.close()


async def test_a_process_that_cannot_be_started_is_not_tried_for_each_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    backend = WorkerBackend(hanging_model.loader(tmp_path))
    await backend.start()
    request = SpeechRequest("Hello.", VoicePrompt(b"", hanging_model.MODEL_ID))
    tried = 0

    def refuse(*_arguments: object) -> None:
        nonlocal tried
        tried += 1
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr("multiprocessing.context.SpawnProcess.start", refuse)
    for child in multiprocessing.active_children():
        child.kill()
    for _ in range(5):
        with pytest.raises(BackendUnavailableError):
            await says(backend, request)
    assert 1 <= tried <= 2
    await backend.close()


async def test_the_process_ends_with_the_bot_even_if_it_hangs(tmp_path: Path) -> None:
    program = (
        "import asyncio, multiprocessing, os, signal, sys\n"
        "from pathlib import Path\n"
        "from backend.contract import SpeechRequest, VoicePrompt\n"
        "from bot.speech.worker.host import WorkerBackend\n"
        "from tests.support.hanging_model import MODEL_ID, Accidents, loader\n"
        "async def main():\n"
        "    folder = Path(sys.argv[1])\n"
        "    Accidents(folder).allow(1)\n"
        "    backend = WorkerBackend(loader(folder))\n"
        "    await backend.start()\n"
        "    print(multiprocessing.active_children()[0].pid, flush=True)\n"
        "    text = 'I am stopped in the middle.'\n"
        "    speech = backend.speak(SpeechRequest(text, VoicePrompt(b'', MODEL_ID)))\n"
        "    await anext(speech)\n"
        "    await asyncio.sleep(0.5)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(main())\n"
    )
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        check=False,
        timeout=60,
    )
    await asyncio.to_thread(wait_for_end, int(done.stdout.split()[-1]))


def wait_for_end(pid: int) -> None:
    status = Path(f"/proc/{pid}/stat")
    deadline = time.monotonic() + 10
    while status.exists() and " Z " not in status.read_text():  # nobody may be there to reap it
        assert time.monotonic() < deadline
        time.sleep(0.02)
