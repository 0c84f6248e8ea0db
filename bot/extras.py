"""The optional packages: which ones the settings need, and the command that installs them.

`python -m bot.extras` prints what the settings need, separated by commas. `make run` installs that.
`python -m bot.extras demo` prints the same for the demo, which `make demo` installs.
"""

from __future__ import annotations

import sys

from bot.settings import Settings, SettingsError, load_settings

_OF_BACKENDS = {"preview": "preview", "local": "local", "modal": None, "http": None}
"""The extra of each speech backend. Modal's client and aiohttp are always installed."""


def install_command(extra: str) -> str:
    """The command that installs an extra of `pyproject.toml`, to be typed in Timbre's folder."""
    return f".venv/bin/pip install -c constraints.txt -e '.[{extra}]'"


def needed_extras(settings: Settings) -> list[str]:
    """The extras without which a bot with these settings can't start, in alphabetical order."""
    extras = {_OF_BACKENDS[settings.speech_backend]}
    if settings.database_url.startswith("postgres"):
        extras.add("postgres")
    return sorted(extra for extra in extras if extra is not None)


def extras_of_demo(settings: Settings) -> list[str]:
    """The extras without which the demo can't start with these settings."""
    return ["demo", "local"] if settings.speech_backend == "local" else ["demo"]


if __name__ == "__main__":
    try:
        needed = extras_of_demo if sys.argv[1:] == ["demo"] else needed_extras
        print(",".join(needed(load_settings())))  # noqa: T201 - for the Makefile
    except SettingsError as error:
        sys.exit(str(error))
