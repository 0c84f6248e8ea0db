"""Discord's own voice messages. discord.py 2.7 can read them, but has no way to send one.

What Discord asks for:

- The flag `IS_VOICE_MESSAGE`, exactly one audio attachment with `duration_secs` and `waveform`, and
  no words beside it. https://docs.discord.com/developers/resources/message#voice-messages
- A content type of the uploaded part that begins with "audio/"; else both fields are ignored.
  discord.py uploads everything as "application/octet-stream".
  https://github.com/discord/discord-api-docs/pull/7161
- The permission Send Voice Messages; without it the answer is 403, code 50173.

The flag is documented for ordinary messages alone, but follow-ups to a command take it as well.
https://github.com/discord/discord-api-docs/issues/7158
"""

from __future__ import annotations

import io
import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import discord
from discord.http import Route

if TYPE_CHECKING:
    from bot.audio.encode import SpeechFile

CONTENT_TYPE = "audio/ogg"


def follow_up(interaction: discord.Interaction[Any]) -> Route:
    """Where a follow-up to a command is posted, while its token lasts."""
    return Route(
        "POST",
        "/webhooks/{webhook_id}/{webhook_token}",
        webhook_id=interaction.application_id,
        webhook_token=interaction.token,
    )


def channel_message(channel_id: int) -> Route:
    """Where an ordinary message in a channel is posted."""
    return Route("POST", "/channels/{channel_id}/messages", channel_id=channel_id)


async def send_voice_message(
    client: discord.Client, route: Route, file: SpeechFile, waveform: bytes
) -> tuple[int, int]:
    """Post speech as a voice message. Raises what discord.py raises where it is refused.

    Args:
        client: The bot.
        route: Where to post it.
        file: The speech, as Ogg/Opus.
        waveform: A byte for each point of its drawing, at most 256.

    Returns the ids of the message and of its channel.
    """
    attachment = {
        "id": 0,
        "filename": file.name,
        "duration_secs": file.seconds,
        "waveform": b64encode(waveform).decode(),
    }
    message = {"flags": discord.MessageFlags(voice=True).value, "attachments": [attachment]}
    upload = discord.File(io.BytesIO(file.data), filename=file.name)
    form: list[dict[str, Any]] = [
        {"name": "payload_json", "value": json.dumps(message)},
        {
            "name": "files[0]",
            "value": upload.fp,
            "filename": file.name,
            "content_type": CONTENT_TYPE,
        },
    ]
    posted = await client.http.request(route, files=[upload], form=form)
    return int(posted["id"]), int(posted["channel_id"])
