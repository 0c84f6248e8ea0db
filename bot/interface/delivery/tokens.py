"""How long an interaction can be answered: Discord takes its token for 15 minutes.

https://discord.com/developers/docs/interactions/receiving-and-responding#followup-messages
A request with a token that has ended is answered with 401, and too many of those ban the bot's
address for a while. So nothing is sent once the token has ended.
https://discord.com/developers/docs/topics/rate-limits#invalid-request-limit-aka-cloudflare-bans
"""

from __future__ import annotations

import time
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import discord

# https://discord.com/developers/docs/topics/opcodes-and-status-codes#json
UNKNOWN_WEBHOOK = 10015
INVALID_WEBHOOK_TOKEN = 50027

TOKEN_SECONDS = 15 * 60.0
SPARE_SECONDS = 10.0
"""A token counts as ended this long before it ends, since a request takes a while to arrive."""

_ARRIVED = "timbre: when it arrived, by `time.monotonic`"
_CLOCK_AGREES = "timbre: whether this machine's clock agreed then that it was young"
_ENDED = "timbre: Discord has said that its token has ended"


def note_arrival(interaction: discord.Interaction[Any]) -> None:
    """Note when an interaction has arrived. Only the first call counts.

    The time since then is right even if the clock of this machine is wrong.
    """
    interaction.extras.setdefault(_ARRIVED, time.monotonic())
    interaction.extras.setdefault(_CLOCK_AGREES, not interaction.is_expired())


def has_token(interaction: discord.Interaction[Any], *, spare: float = SPARE_SECONDS) -> bool:
    """Whether messages can still be sent and edited with an interaction's token.

    Args:
        interaction: The interaction.
        spare: How many seconds the token has to last.
    """
    note_arrival(interaction)
    extras = interaction.extras
    if extras.get(_ENDED):
        return False
    if time.monotonic() - extras[_ARRIVED] >= TOKEN_SECONDS - spare:
        return False
    ends_soon = discord.utils.utcnow() + timedelta(seconds=spare) >= interaction.expires_at
    return not (extras[_CLOCK_AGREES] and ends_soon)


def says_token_ended(interaction: discord.Interaction[Any], error: BaseException) -> bool:
    """Whether Discord refused a request because the token has ended; remembered from then on."""
    ended = isinstance(error, discord.HTTPException) and (
        error.status == HTTPStatus.UNAUTHORIZED
        or error.code in {UNKNOWN_WEBHOOK, INVALID_WEBHOOK_TOKEN}
    )
    if ended:
        interaction.extras[_ENDED] = True
    return ended
