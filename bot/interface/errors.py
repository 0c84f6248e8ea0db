"""Where every error ends that leaves a command, a button or a form: the log, and a sentence."""

from __future__ import annotations

import logging
import secrets
from typing import Any

import discord
import structlog
from discord import app_commands

from backend.contract import LanguageNotSupportedError, SpeechError, TextNotSpeakableError
from bot.errors import Reason, Refusal
from bot.interface.delivery.answers import DISCORD_FAILURES, has_code, show_privately, with_links
from bot.interface.delivery.tokens import note_arrival
from bot.interface.wording.sentences import explain

log = structlog.get_logger(__name__)

# https://discord.com/developers/docs/topics/opcodes-and-status-codes#json
UNKNOWN_INTERACTION = 10062
ALREADY_ACKNOWLEDGED = 40060


class TimbreCommandTree(app_commands.CommandTree[Any]):
    """A command tree in which every error ends in a log line and a sentence for the person.

    The bot is installed in servers. Its commands work there and in direct messages with it, except
    for those that belong to a server. Clients offer them so, but nothing else keeps to it, so it is
    checked here too.
    """

    def __init__(self, client: discord.Client) -> None:
        super().__init__(
            client,
            allowed_contexts=app_commands.AppCommandContext(
                guild=True, dm_channel=True, private_channel=False
            ),
            allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
        )

    async def interaction_check(self, interaction: discord.Interaction[Any]) -> bool:
        """Refuse commands while the bot stops, and a server's command outside of servers.

        Called by discord.py before a command. Raises `CommandSignatureMismatch` if the command was
        published with other choices than it has now; discord.py looks at its options alone.
        """
        note_arrival(interaction)
        command = interaction.command
        is_for_guilds = (
            isinstance(command, app_commands.Command)
            and (command.root_parent or command).guild_only  # a group declares it for all
        )
        reason: Reason | None = interaction.client.replies.closed_for
        if reason is None and is_for_guilds and interaction.guild is None:
            reason = Reason.ONLY_IN_SERVERS
        if interaction.type is discord.InteractionType.autocomplete:
            return True
        if reason is None:
            if isinstance(command, app_commands.Command):
                _check_choices(command, interaction.namespace)
            return True
        await answer_error(interaction, Refusal(reason), source=command_name(interaction))
        return False

    async def on_error(
        self, interaction: discord.Interaction[Any], error: app_commands.AppCommandError
    ) -> None:
        """Handle an exception raised by a command."""
        cause = error.original if isinstance(error, app_commands.CommandInvokeError) else error
        await answer_error(interaction, cause, source=command_name(interaction))


def _check_choices(
    command: app_commands.Command[Any, Any, Any], given: app_commands.Namespace
) -> None:
    """Raise `CommandSignatureMismatch` if an option has a value that isn't among its choices."""
    offered = {
        option.display_name: {choice.value for choice in option.choices}
        for option in command.parameters
        if option.choices
    }
    if any(name in offered and value not in offered[name] for name, value in given):
        raise app_commands.CommandSignatureMismatch(command)


async def answer_error(
    interaction: discord.Interaction[Any], error: Exception, *, source: str | None
) -> None:
    """Log an error and tell the person.

    Args:
        interaction: Where the error happened.
        error: What left the command, the button or the form.
        source: The name of that command, view or form, for the log.
    """
    # Discord forgets an interaction that isn't answered within 3 s.
    if has_code(error, UNKNOWN_INTERACTION, ALREADY_ACKNOWLEDGED):
        log.warning("interaction expired before it was answered", command=source)
        return
    sentence = log_and_explain(error, source=source)
    if interaction.response.is_done():
        await show_privately(interaction, sentence)
        return
    try:
        await interaction.response.send_message(with_links(interaction, sentence), ephemeral=True)
    except DISCORD_FAILURES as failure:
        log.warning("error not shown", reason=repr(failure))


def log_and_explain(error: Exception, *, source: str | None) -> str:
    """Log an error, and return the sentence for the person.

    The sentence about an error that nobody expected has an incident number, which is in the log
    too.
    """
    if isinstance(error, Refusal):
        return explain(error)
    if isinstance(error, SpeechError):
        is_request_at_fault = isinstance(error, LanguageNotSupportedError | TextNotSpeakableError)
        log.log(
            logging.INFO if is_request_at_fault else logging.WARNING,
            "speech failed",
            kind=type(error).__name__,
            reason=str(error),
            exc_info=error if error.__cause__ else None,  # a cause is a defect of the backend
        )
        return explain(error)
    if isinstance(error, app_commands.CommandSignatureMismatch | app_commands.CommandNotFound):
        log.warning("commands are out of date; run `.venv/bin/python -m bot sync`", command=source)
        return "That command has changed. Please reload Discord (Ctrl+R) and try again."
    incident = secrets.token_hex(3)
    log.error("command failed", command=source, incident=incident, exc_info=error)
    return (
        "Something broke on my side. Please try again in a minute; "
        f"if it happens again, tell whoever runs this bot the number `{incident}`."
    )


def command_name(interaction: discord.Interaction[Any]) -> str | None:
    """The full name of the slash command, or None if the interaction is of another kind."""
    return interaction.command.qualified_name if interaction.command else None
