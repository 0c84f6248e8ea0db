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
import soundfile

pytest.importorskip("playwright", reason="the demo page needs Playwright, which `make test` has")
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.recordings import as_file, speech

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Locator, Request

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

PATIENCE_SECONDS = 60
"""How long something may take on a machine with much else to do."""

PRESSES = 3
SECONDS_TO_SEND = 10
"""A press is taken for lost when the page has sent nothing after so long."""

expect.set_options(timeout=PATIENCE_SECONDS * 1000)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None and "TIMBRE_REQUIRE_CHROMIUM" not in os.environ,
        reason="the demo page needs Chromium, and none is here",
    ),
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
        self.printed = self._read_welcome()
        self.address = self._printed_address(r"http://127\.0\.0\.1:\d+/#\S+")
        self.listen_address = self._printed_address(r"http://127\.0\.0\.1:\d+/(?!#)")

    def stop(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        try:
            rest, _ = self.process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            self.process.kill()
        self.printed += rest

    def _read_welcome(self) -> str:
        assert self.process.stdout is not None
        welcome = ""
        for line in self.process.stdout:
            welcome += line
            if "Ctrl-C ends the demo." in line:
                break
        return welcome

    def _printed_address(self, pattern: str) -> str:
        found = re.search(pattern, self.printed)
        assert found is not None, f"the demo printed no address:\n{self.printed}"
        return found[0]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.new_context(viewport={"width": 1200, "height": 850}) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_SECONDS * 1000)
        yield page


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "me.m4a"
    path.write_bytes(as_file(speech(6.0), 24_000, "m4a"))
    return path


def presses(page: Page, button: Locator, *, kind: str) -> None:
    """Press a button, and again if the page has lost the press, as a person would.

    A browser makes a click of a press and a release only if both are on the same element. The page
    replaces elements, and moves them, whenever something new is shown, and it drops a click without
    a word while an action is under way. Once it has sent the press, the bot has to answer.

    Args:
        page: Where the button is.
        button: The only element that can be meant: what was said in messages is the name of
            buttons, too, in the list beside the conversation.
        kind: What the page tells its server when the button is pressed.
    """
    sent: list[str] = []

    def note(request: Request) -> None:
        if request.url.endswith("/api/action"):
            body = request.post_data_buffer or b""  # of a form with a file, there may be none
            if (
                f'"kind":"{kind}"'.encode() in body
                or "multipart" in request.headers["content-type"]
            ):
                sent.append(kind)

    page.on("request", note)
    try:
        for _ in range(PRESSES):
            button.click()
            for _ in range(SECONDS_TO_SEND * 20):
                if sent:
                    return
                page.wait_for_timeout(50)
    finally:
        page.remove_listener("request", note)
    pytest.fail(f"the page has lost {PRESSES} presses")


def answers(page: Page, label: str) -> None:
    """Press a button below the newest message that has one of that name."""
    buttons = page.get_by_role("article").get_by_role("button", name=label, exact=True)
    presses(page, buttons.last, kind="click")


def send(page: Page) -> None:
    presses(page, page.get_by_label("Send"), kind="run_command")


def begin(page: Page, command: str) -> None:
    page.locator("#channel-composer-input").click()
    page.keyboard.type(f"/{command}")
    page.get_by_role("option", name=f"/{command}").first.click()


def sends(page: Page, command: str, **options: str) -> None:
    """Use a command; options without a field at first are chosen from the list of more."""
    begin(page, command)
    for name, value in options.items():
        field = page.locator(f'input[data-option="{name}"]')
        if field.count():
            field.fill(value)
        else:
            page.get_by_role("button", name="more").click()
            page.get_by_role("option", name=name).first.click()
            page.get_by_role("option", name=value).first.click()
    send(page)


def clones(page: Page, recording: Path, text: str, *, name: str) -> None:
    """Use `/clone` as somebody whose own voice it is."""
    begin(page, "clone")
    page.set_input_files('input[data-option="audio"]', recording)
    page.locator('input[data-option="permission"]').click()
    page.get_by_role("option", name="This is my own voice").first.click()
    for option, typed in (("name", name), ("text", text)):
        page.get_by_role("button", name="more").click()
        page.get_by_role("option", name=option).first.click()
        page.keyboard.type(typed)
    send(page)


def heard_seconds(page: Page, number: int) -> float:
    """Wait until the audio player of that number, from 0, has loaded its speech."""
    player = page.locator("audio").nth(number)
    player.wait_for(state="attached")
    page.wait_for_function("player => player.readyState >= 1", arg=player.element_handle())
    return float(player.evaluate("player => player.duration"))


LOUDEST = """() => {
    const loudest = { value: 0 };
    const level = document.querySelector("meter");
    setInterval(() => { loudest.value = Math.max(loudest.value, level.value); }, 20);
    return loudest;
}"""


def test_clone_say_restart_and_listen_in_the_browser(
    tmp_path: Path, page: Page, recording: Path
) -> None:
    demo = Demo(tmp_path, port=0)
    try:
        page.goto(demo.address)
        expect(page.get_by_text("Welcome! This is a simulated Discord").last).to_be_visible()
        clones(page, recording, "Hello there. I am new here.", name="Me")
        assert 1.0 < heard_seconds(page, 0) < 6.0
        expect(page.get_by_text("Your voice is saved as Me.").last).to_be_visible()
    finally:
        demo.stop()
    assert demo.process.returncode == 0
    assert demo.printed.endswith("The demo has ended. Your voices are kept.\n")
    assert "in use" not in demo.printed

    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        again = Demo(tmp_path, port=taken)
    assert f":{taken}/" not in again.address
    assert re.search(
        rf"Ports? {taken} (and \d+ )?(is|are) in use, perhaps by another", again.printed
    )
    try:
        page.goto(again.address)
        sends(page, "say", text="And I am still here.")
        assert 0.5 < heard_seconds(page, 0) < 5.0, "also without the listen page"
        said = page.get_by_role("article").filter(has_text="And I am still here.").last
        expect(said).to_contain_text("Me (synthetic voice, asked by @you)")
        expect(page.get_by_text(", but nobody heard it").last).to_be_visible()

        listening = page.context.new_page()
        listening.goto(again.listen_address)
        listening.get_by_role("button", name="Listen").click()
        expect(listening.get_by_text("You are listening.")).to_be_visible()
        loudest = listening.evaluate_handle(LOUDEST)
        sends(page, "say", text="Can you hear me now?", where="Voice channel")
        expect(page.get_by_text("Me has spoken in #Lounge.").last).to_be_visible()
        listening.wait_for_function("loudest => loudest.value > 0.05", arg=loudest)
        expect(page.locator("audio")).to_have_count(1)

        loudest = listening.evaluate_handle(LOUDEST)
        sends(page, "say", text="This goes on and on. " * 99, where="Voice channel")
        listening.wait_for_function("loudest => loudest.value > 0.05", arg=loudest)
    finally:
        again.stop()  # at once, though there is a lot left to be said
    assert again.process.returncode == 0
    expect(listening.get_by_text("The demo has ended.")).to_be_visible()


def test_every_file_plays_times_are_true_and_what_is_kept_is_said(
    tmp_path: Path, page: Page, recording: Path
) -> None:
    demo = Demo(tmp_path, port=0)
    try:
        page.goto(demo.address)
        clones(page, recording, "Hello.", name="Me")
        expect(page.get_by_text("Your voice is saved as Me.").last).to_be_visible()

        sends(page, "say", text="This is a file.", format="WAV")
        assert 0.5 < heard_seconds(page, 1) < 5.0
        with page.expect_download() as download:
            page.get_by_role("button", name="Download speech.wav").click()
        saved = soundfile.info(download.value.path())
        assert (saved.format, 0.5 < saved.duration < 5.0) == ("WAV", True)

        sends(page, "voice list")
        expect(page.get_by_text("You have 1 voice.").last).to_be_visible()
        expect(page.get_by_text(re.compile(r"last used (now|\d+ seconds? ago)"))).to_be_visible()

        sends(page, "warm", minutes="30")
        expect(page.get_by_text("The voice engine here never sleeps").last).to_be_visible()

        sends(page, "forget")
        answers(page, "Delete")
        expect(page.get_by_text("Deleted 1 voice with its recording").last).to_be_visible()
    finally:
        demo.stop()
    assert demo.printed.endswith("The demo has ended.\n"), "nothing is kept"
