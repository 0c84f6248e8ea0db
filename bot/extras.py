"""The optional packages: which ones the settings need, and the command that installs them.

`python -m bot.extras` prints what the settings need, separated by commas. `make run` installs that.
"""

from __future__ import annotations

import sys

from bot.settings import Settings, SettingsError, load_settings

_OF_BACKENDS = {"preview": "preview", "local": "local", "modal": None}
"""The extra of each speech backend. Modal's client is always installed."""


def install_command(extra: str) -> str:
    """The command that installs an extra of `pyproject.toml`, to be typed in Timbre's folder."""
    return f".venv/bin/pip install -c constraints.txt -e '.[{extra}]'"


def needed_extras(settings: Settings) -> list[str]:
    """The extras without which a bot with these settings can't start, in alphabetical order."""
    extras = {_OF_BACKENDS[settings.speech_backend]}
    if settings.database_url.startswith("postgres"):
        extras.add("postgres")
    return sorted(extra for extra in extras if extra is not None)


if __name__ == "__main__":
    try:
        print(",".join(needed_extras(load_settings())))  # noqa: T201 - for `make run`
    except SettingsError as error:
        sys.exit(str(error))
