"""`make demo` as a newcomer uses it: a browser, a recording, and speech that plays."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright", reason="the demo page needs Playwright, which `make test` has")
from playwright.sync_api import Page, expect, sync_playwright

from tests.support.recordings import as_file, speech

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="the demo page needs Chromium, and none is here"),
]


class Demo:
    """`python -m bot demo` in a process of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - our own command line
            [sys.executable, "-m", "bot", "demo", "--port", str(port)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.printed = ""
        self.address = self._read_address(r"http://127\.0\.0\.1:\d+/#\S+")
        self.listen_address = self._read_address(r"http://127\.0\.0\.1:\d+/(?!#)")

    def stop(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        rest, _ = self.process.communicate(timeout=20)
        self.printed += rest

    def _read_address(self, pattern: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line
            if found := re.search(pattern, line):
                return found[0]
        raise AssertionError(f"the demo printed no address:\n{self.printed}")


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser.new_context(viewport={"width": 1200, "height": 850}).new_page()
        browser.close()


def begin(page: Page, command: str) -> None:
    page.locator("#channel-composer-input").click()
    page.keyboard.type(f"/{command}")
    page.get_by_role("option", name=f"/{command}").first.click()


def heard_seconds(page: Page, number: int) -> float:
    """Wait until the audio player of that number, from 0, has loaded its speech."""
    player = page.locator("audio").nth(number)
    player.wait_for(state="attached", timeout=60_000)
    page.wait_for_function("player => player.readyState >= 1", arg=player.element_handle())
    return float(player.evaluate("player => player.duration"))


LOUDEST = """() => {
    const loudest = { value: 0 };
    const level = document.querySelector("meter");
    setInterval(() => { loudest.value = Math.max(loudest.value, level.value); }, 20);
    return loudest;
}"""


def test_clone_say_restart_and_listen_in_the_browser(tmp_path: Path, page: Page) -> None:
    recording = tmp_path / "me.m4a"
    recording.write_bytes(as_file(speech(6.0), 24_000, "m4a"))
    demo = Demo(tmp_path, port=0)
    try:
        page.goto(demo.address)
        expect(page.get_by_text("Welcome! This is a simulated Discord").last).to_be_visible()
        begin(page, "clone")
        page.set_input_files('input[data-option="audio"]', recording)
        page.fill('input[data-option="text"]', "Hello there. I am new here.")
        page.get_by_role("button", name="+3 more").click()
        page.get_by_role("option", name="name").first.click()
        page.keyboard.type("Me")
        page.get_by_label("Send").click()
        page.get_by_role("button", name="I confirm").click()
        assert 1.0 < heard_seconds(page, 0) < 6.0
        expect(page.get_by_text("Your voice is saved as Me.").last).to_be_visible()
    finally:
        demo.stop()
    assert demo.process.returncode == 0
    assert demo.printed.endswith("The demo has ended. Your voices are kept.\n")

    again = Demo(tmp_path, port=0)
    try:
        page.goto(again.address)
        begin(page, "say")
        page.fill('input[data-option="text"]', "And I am still here.")
        page.get_by_role("button", name="+4 more").click()
        page.get_by_role("option", name="where").first.click()
        page.get_by_role("option", name="File").first.click()
        page.get_by_label("Send").click()
        assert 0.5 < heard_seconds(page, 0) < 5.0
        expect(page.get_by_text("Me says: “And I am still here.”").last).to_be_visible()

        listening = page.context.new_page()
        listening.goto(again.listen_address)
        listening.get_by_role("button", name="Listen").click()
        expect(listening.get_by_text("You are listening.")).to_be_visible()
        loudest = listening.evaluate_handle(LOUDEST)
        begin(page, "say")
        page.fill('input[data-option="text"]', "Can you hear me now?")
        page.get_by_label("Send").click()
        expect(page.get_by_text("Me has spoken in").last).to_be_visible(timeout=30_000)
        listening.wait_for_function("loudest => loudest.value > 0.05", arg=loudest)
    finally:
        again.stop()
    assert again.process.returncode == 0
    expect(listening.get_by_text("The demo has ended.")).to_be_visible()


def test_takes_another_port_when_the_asked_one_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        demo = Demo(tmp_path, port=taken)
        demo.stop()
    assert f":{taken}/" not in demo.address
    assert demo.process.returncode == 0
