"""What reaches the log, whatever the operator asks for."""

from __future__ import annotations

import logging
from typing import Literal

import pytest
import structlog

from bot.log import configure_logging
from bot.settings import Settings


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_holds_no_local_variables_and_no_parameters(
    capsys: pytest.CaptureFixture[str], log_format: Literal["console", "json"]
) -> None:
    configure_logging(Settings(_env_file=None, log_level="DEBUG", log_format=log_format))
    typed = "my secret transcript"
    logging.getLogger("aiosqlite").debug("executing %s", typed)
    logging.getLogger("discord.gateway").debug("event %s", typed)
    logging.getLogger("sqlalchemy.engine").info("INSERT %s", typed)
    try:
        raise RuntimeError("broken")  # noqa: TRY301 - the traceback is what is looked at
    except RuntimeError:
        structlog.get_logger("bot.test").exception("command failed", incident="abc")
    logged = capsys.readouterr().err
    assert "RuntimeError: broken" in logged
    assert "abc" in logged
    assert typed not in logged
