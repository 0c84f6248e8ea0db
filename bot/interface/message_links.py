"""Links to messages, as Discord's clients copy them."""

from __future__ import annotations

import re

from bot.errors import Reason, Refusal

MAX_LINK_CHARACTERS = 200

_MAX_ID = 2**63 - 1

# A link, the ids that Discord copies with Shift, or a message's id alone.
_MESSAGE = re.compile(
    r"<?(?:https://(?:\w+\.)?discord(?:app)?\.com/channels/(?:@me|\d{1,20})/\d{1,20}/|\d{1,20}-)?"
    r"(?P<message>\d{1,20})>?",
    re.ASCII,
)


def message_of(link: str) -> int:
    """The id of the message that a link leads to. Raises `Refusal` if it is no such link."""
    found = _MESSAGE.fullmatch(link.strip())
    if found is None or int(found["message"]) > _MAX_ID:
        raise Refusal(Reason.NOT_A_MESSAGE_LINK)
    return int(found["message"])
