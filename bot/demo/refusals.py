"""A refused command is an answered command, for simcord as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.errors import Refusal

if TYPE_CHECKING:
    from simcord.env import Env


def expect_refusals(env: Env) -> None:
    """Let simcord take no `Refusal` for an error that the bot has not handled.

    It notes every exception that leaves a command, although the command tree answers it.
    """
    record = env._record_error  # noqa: SLF001 - simcord has no other way

    def record_unless_refused(error: BaseException) -> None:
        if not isinstance(getattr(error, "original", error), Refusal):
            record(error)

    env._record_error = record_unless_refused  # type: ignore[method-assign]  # noqa: SLF001
